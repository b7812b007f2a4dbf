//! The parameters that shape the answer instead of choosing resources: `_count`, `_sort`, `_total`, `_summary`, `_elements`
//! (R4 search.html section 3.1.1.5). Each may occur once, and has no modifiers.

use super::{Class, SearchProblem, SearchQuery, SortBy, SortKey, Total, traversal};
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
    ) -> Result<bool, SearchProblem> {
        if !matches!(name, "_count" | "_sort" | "_total" | "_totalMethod" | "_summary" | "_elements") {
            return Ok(false);
        }
        if modifier.is_some() {
            return Err(SearchProblem::new(format!("expected `{name}` without a modifier")));
        }
        match name {
            "_count" => {
                once(name, &mut self.count)?;
                match count(value)? {
                    0 => number_only(query),
                    count => query.count = Some(count),
                }
            }
            "_sort" => {
                once(name, &mut self.sort)?;
                sort(query, resource_type, value)?;
            }
            "_total" | "_totalMethod" => {
                once(name, &mut self.total)?;
                query.total = Some(match value {
                    "none" => Total::None,
                    "estimate" => Total::Estimate,
                    "accurate" | "count" => Total::Accurate,
                    _ => {
                        return Err(SearchProblem::new(format!(
                            "expected `{name}` to be none, estimate, accurate or count"
                        )));
                    }
                });
            }
            _ => self.project(query, resource_type, name, value)?,
        }
        Ok(true)
    }

    /// What only shows when everything has been seen.
    pub(super) fn check(&self, query: &SearchQuery) -> Result<(), SearchProblem> {
        if self.projection == Some(Projection::SummaryText) && !query.includes.is_empty() {
            return Err(SearchProblem::new("expected no `_include` or `_revinclude` together with `_summary=text`"));
        }
        Ok(())
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
    ) -> Result<(), SearchProblem> {
        if self.projection.is_some() {
            return Err(SearchProblem::new("expected one of `_summary` and `_elements`, once"));
        }
        let projection = match (name, value) {
            ("_elements", names) => elements(resource_type, names)?,
            (_, "true") => Projection::SummaryTrue,
            (_, "text") => Projection::SummaryText,
            (_, "data") => Projection::SummaryData,
            (_, "false") => Projection::Full,
            (_, "count") => {
                number_only(query);
                Projection::Full
            }
            _ => return Err(SearchProblem::new("expected `_summary` to be true, text, data, count or false")),
        };
        self.projection = Some(projection);
        Ok(())
    }
}

fn once(name: &str, seen: &mut bool) -> Result<(), SearchProblem> {
    if std::mem::replace(seen, true) {
        return Err(SearchProblem::new(format!("expected `{name}` once")));
    }
    Ok(())
}

fn number_only(query: &mut SearchQuery) {
    query.beyond.push(Class::Total);
    query.number_only = true;
}

fn count(value: &str) -> Result<u32, SearchProblem> {
    if value.is_empty() || value.len() > 20 || !value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(SearchProblem::new("expected `_count` to be a whole number, not negative"));
    }
    // Only overflow is left to go wrong: such a number is larger than any limit.
    Ok(value.parse().unwrap_or(u32::MAX))
}

fn sort(query: &mut SearchQuery, resource_type: ResourceType, value: &str) -> Result<(), SearchProblem> {
    for key in value.split(',') {
        let (name, descending) = key.strip_prefix('-').map_or((key, false), |name| (name, true));
        if name.contains(['.', ':']) {
            let by = SortBy::Beyond(traversal::sort_key(resource_type, name)?);
            query.beyond.push(Class::Traverse);
            query.sort.push(SortKey { by, descending });
            continue;
        }
        let parameter =
            search_parameter(resource_type, name).filter(|_| !matches!(name, "_text" | "_content" | "_query"));
        let parameter = parameter.ok_or_else(|| {
            SearchProblem::new(format!(
                "expected `_sort` to name search parameters that FHIR R4 defines for {resource_type}"
            ))
        })?;
        query.sort.push(SortKey { by: SortBy::Own(parameter), descending });
    }
    Ok(())
}

fn elements(resource_type: ResourceType, names: &str) -> Result<Projection, SearchProblem> {
    let names: Vec<&str> = names.split(',').collect();
    if !names.iter().all(|name| is_element_name(resource_type, name)) {
        return Err(SearchProblem::new(format!(
            "expected `_elements` to name elements of {resource_type}, separated by commas"
        )));
    }
    Ok(Projection::Elements(names.into_iter().map(Into::into).collect()))
}
