//! The parameters that shape the answer instead of choosing resources: `_count`, `_sort`, `_total`, `_summary`, `_elements`
//! (R4 search.html section 3.1.1.5). Each may occur once, and has no modifiers.

use super::{Class, SearchQuery, SortKey};
use crate::error::Refusal;
use crate::fhir::definitions::search_parameter;
use crate::fhir::projection::{Projection, is_element_name};
use crate::fhir::resource_type::ResourceType;

/// What was seen so far.
#[derive(Debug, Default)]
pub(super) struct Control {
    sort: bool,
    count: bool,
    total: bool,
    projection: Option<Projection>,
}

impl Control {
    /// Whether `name` is one of these; if so, it has been taken into the query.
    pub(super) fn takes(
        &mut self,
        query: &mut SearchQuery,
        resource_type: ResourceType,
        name: &str,
        modifier: Option<&str>,
        value: &str,
    ) -> Result<bool, Refusal> {
        if !matches!(name, "_count" | "_sort" | "_total" | "_totalMethod" | "_summary" | "_elements") {
            return Ok(false);
        }
        if modifier.is_some() {
            return Err(Refusal::bad_request(format!("expected `{name}` without a modifier")));
        }
        match name {
            "_count" => {
                once(name, &mut self.count)?;
                match count(value)? {
                    0 => query.beyond.push(Class::Total),
                    count => query.count = Some(count),
                }
            }
            "_sort" => {
                once(name, &mut self.sort)?;
                sort(query, resource_type, value)?;
            }
            // Totals count what the client may not see as well, so none is given: the wish is taken and not passed on.
            "_total" | "_totalMethod" => {
                once(name, &mut self.total)?;
                if !matches!(value, "none" | "estimate" | "accurate" | "count") {
                    return Err(Refusal::bad_request(format!(
                        "expected `{name}` to be none, estimate, accurate or count"
                    )));
                }
            }
            _ => self.project(query, resource_type, name, value)?,
        }
        Ok(true)
    }

    pub(super) fn projection(self) -> Projection {
        self.projection.unwrap_or_default()
    }

    fn project(
        &mut self,
        query: &mut SearchQuery,
        resource_type: ResourceType,
        name: &str,
        value: &str,
    ) -> Result<(), Refusal> {
        if self.projection.is_some() {
            return Err(Refusal::bad_request("expected one of `_summary` and `_elements`, once"));
        }
        let projection = match (name, value) {
            ("_elements", names) => elements(resource_type, names)?,
            (_, "true") => Projection::SummaryTrue,
            (_, "text") => Projection::SummaryText,
            (_, "data") => Projection::SummaryData,
            (_, "false") => Projection::Full,
            (_, "count") => {
                query.beyond.push(Class::Total);
                Projection::Full
            }
            _ => return Err(Refusal::bad_request("expected `_summary` to be true, text, data, count or false")),
        };
        self.projection = Some(projection);
        Ok(())
    }
}

fn once(name: &str, seen: &mut bool) -> Result<(), Refusal> {
    if std::mem::replace(seen, true) {
        return Err(Refusal::bad_request(format!("expected `{name}` once")));
    }
    Ok(())
}

fn count(value: &str) -> Result<u32, Refusal> {
    if value.is_empty() || value.len() > 20 || !value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Refusal::bad_request("expected `_count` to be a whole number, not negative"));
    }
    // Only overflow is left to go wrong: such a number is larger than any limit.
    Ok(value.parse().unwrap_or(u32::MAX))
}

fn sort(query: &mut SearchQuery, resource_type: ResourceType, value: &str) -> Result<(), Refusal> {
    for key in value.split(',') {
        let (name, descending) = key.strip_prefix('-').map_or((key, false), |name| (name, true));
        // `patient.birthdate`, `subject:Patient.name`: by what another resource holds.
        if name.contains(['.', ':']) {
            query.beyond.push(Class::Traverse);
            continue;
        }
        let parameter =
            search_parameter(resource_type, name).filter(|_| !matches!(name, "_text" | "_content" | "_query"));
        let parameter = parameter.ok_or_else(|| {
            Refusal::bad_request(format!(
                "expected `_sort` to name search parameters that FHIR R4 defines for {resource_type}"
            ))
        })?;
        query.sort.push(SortKey { parameter, descending });
    }
    Ok(())
}

fn elements(resource_type: ResourceType, names: &str) -> Result<Projection, Refusal> {
    let names: Vec<&str> = names.split(',').collect();
    if !names.iter().all(|name| is_element_name(resource_type, name)) {
        return Err(Refusal::bad_request(format!(
            "expected `_elements` to name elements of {resource_type}, separated by commas"
        )));
    }
    Ok(Projection::Elements(names.into_iter().map(Into::into).collect()))
}
