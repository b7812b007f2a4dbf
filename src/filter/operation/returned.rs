//! What an operation returns: one resource, a searchset, Parameters of the types that it is listed with, or an OperationOutcome.

use bytes::Bytes;
use http::HeaderMap;

use super::super::{Filter, Releasable, Told, outcome, strict, unusable, urls};
use crate::authorize::Obligations;
use crate::error::Refusal;
use crate::fhir::facts::Facts;
use crate::fhir::operation::Returns;
use crate::fhir::resource_type::ResourceType;
use crate::json::{Edits, Json, Kind, Value};

impl Filter {
    /// Reviews what was returned.
    pub(super) fn release_returned(
        &self,
        body: Bytes,
        obligations: &Obligations,
        returns: &Returns,
    ) -> Result<Releasable, Refusal> {
        if let Returns::Searchset(types) = returns {
            return self.release_record(body, obligations, Some(types), true);
        }
        let json = strict(body)?;
        let mut told = Told::default();
        let body = match returns {
            Returns::Resource(types) => {
                let facts = self.returned(json.root(), types, obligations)?;
                self.tell(&mut told, &facts, obligations);
                self.ours(&json)?
            }
            Returns::Parameters(types) => {
                if !json.root().member("resourceType").is_some_and(|name| name.is("Parameters")) {
                    return Err(unusable("no Parameters"));
                }
                // Whatever else a resource may have, `contained` above all, nobody would look at (R4 parameters.html has none).
                let known = [&b"resourceType"[..], b"id", b"meta", b"language", b"parameter"];
                if !json.root().members().all(|member| known.contains(&&*member.name_bytes())) {
                    return Err(unusable("malformed Parameters"));
                }
                self.parts(json.root().member("parameter"), types, obligations, &mut told)?;
                self.ours(&json)?
            }
            Returns::Searchset(_) | Returns::OperationOutcome => {
                return Err(unusable("not what the operation returns"));
            }
        };
        Ok(Releasable::new(HeaderMap::new(), body, obligations, told))
    }

    /// A resource that may be returned: of one of these types, and within its reach.
    fn returned<'j>(
        &self,
        resource: Value<'j>,
        types: &[ResourceType],
        obligations: &Obligations,
    ) -> Result<Facts<'j>, Refusal> {
        let facts = Facts::of(resource).map_err(|_| unusable("not a resource"))?;
        if !types.contains(&facts.resource_type()) {
            return Err(unusable("a resource of another type than the operation returns"));
        }
        self.within(&facts, obligations).ok_or(Refusal::NotFound)?;
        Ok(facts)
    }

    /// Parameters and their parts: names, values, and resources of these types.
    fn parts(
        &self,
        list: Option<Value<'_>>,
        types: &[ResourceType],
        obligations: &Obligations,
        told: &mut Told,
    ) -> Result<(), Refusal> {
        let Some(list) = list else { return Ok(()) };
        if list.kind() != Kind::Array {
            return Err(unusable("malformed Parameters"));
        }
        for part in list.elements() {
            if !part.member("name").is_some_and(Value::is_string) {
                return Err(unusable("malformed Parameters"));
            }
            for member in part.members() {
                match &*member.name_bytes() {
                    b"resource" => {
                        let facts = self.returned(member.value, types, obligations)?;
                        self.tell(told, &facts, obligations);
                    }
                    b"part" => self.parts(Some(member.value), types, obligations, told)?,
                    name if (name.starts_with(b"value") || name == b"extension") && holds_resource(member.value) => {
                        return Err(unusable("a resource in a value"));
                    }
                    name if matches!(name, b"name" | b"id" | b"extension") || name.starts_with(b"value") => {}
                    _ => return Err(unusable("malformed Parameters")),
                }
            }
        }
        Ok(())
    }

    /// The text with our addresses.
    fn ours(&self, json: &Json) -> Result<Bytes, Refusal> {
        let mut edits = Edits::new(json);
        urls::rewrite(json.root(), &mut edits, &mut |_, url| self.rebase.outward(url));
        if edits.is_empty() {
            return Ok(json.bytes().clone());
        }
        edits.apply().map(Bytes::from).map_err(|_| unusable("edits contradict each other"))
    }

    /// Reviews what was found wrong: how bad, which kind and where, and the words only where they are for who asked.
    pub(super) fn release_outcome(
        &self,
        body: Bytes,
        obligations: &Obligations,
        in_words: bool,
    ) -> Result<Releasable, Refusal> {
        let json = strict(body)?;
        if !json.root().member("resourceType").is_some_and(|name| name.is("OperationOutcome")) {
            return Err(unusable("no OperationOutcome"));
        }
        let of = obligations.reach.resource_type();
        let body = outcome::of_validation(json.root(), of, in_words.then_some(&self.rebase));
        Ok(Releasable::new(HeaderMap::new(), body.into(), obligations, Told::default()))
    }
}

fn holds_resource(value: Value<'_>) -> bool {
    value.member("resourceType").is_some()
        || value.elements().any(|one| one.is_container() && holds_resource(one))
        || value.members().any(|member| member.value.is_container() && holds_resource(member.value))
}
