//! Everything in a resource by which it points to another one, at any depth: in elements, extensions and what is contained.
//!
//! Takes a resource's place in a parsed text, calls back for each; gives what a body looks like when all that names this server
//! is relative, as the upstream stores it. A string called `reference` is a reference wherever it stands (R4
//! references.html), in an array too, though FHIR has it in none: a server may read it leniently. Addresses are those of
//! attachments and the values of type `url` and `uri`. Canonical names, identifiers and narrative point nowhere.

use super::reference::{Bases, LocalReference};
use crate::json::{Edits, Value};

/// How it points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// `Reference.reference`
    Reference,
    /// `Attachment.url` and any other `url` of an element that is no extension; `valueUrl`, `valueUri`
    Address,
}

/// Calls `found` with every string in `resource` that points somewhere.
pub fn visit<'a>(resource: Value<'a>, found: &mut impl FnMut(Place, Value<'a>)) {
    walk(resource, Context::Resource, found);
}

/// The same for one member of a resource, called `name`.
pub fn visit_member<'a>(name: &[u8], value: Value<'a>, found: &mut impl FnMut(Place, Value<'a>)) {
    member(name, value, Context::Resource, found);
}

/// The same for what is put at a place in a resource: `content`, `0`, `attachment`, `url`. What stands below a number is an element of
/// the list of the last name before it.
pub fn visit_at<'a>(way: &[String], value: Value<'a>, found: &mut impl FnMut(Place, Value<'a>)) {
    let is_index = |token: &String| token == "-" || token.bytes().all(|byte| byte.is_ascii_digit());
    let mut names = way.iter().filter(|token| !is_index(token)).map(String::as_bytes);
    let Some(last) = names.next_back() else { return visit(value, found) };
    let context = names.next_back().map_or(Context::Resource, Context::below);
    member(last, value, context, found);
}

/// Puts the relative form in the place of whatever names a resource below one of `bases`.
pub fn relative(resource: Value<'_>, bases: &Bases, edits: &mut Edits<'_>) {
    visit(resource, &mut |_, value| {
        let Some(text) = value.string() else { return };
        if let Some(local) = bases.strip(&text).filter(|rest| LocalReference::parse_relative(rest).is_some()) {
            edits.replace_string(value, local);
        }
    });
}

/// What an object in a resource is, as far as it matters to the meaning of its `url`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    /// `url` is the canonical name of the resource.
    Resource,
    /// `url` is the name of the extension.
    Extension,
    /// `url` is an address.
    Element,
}

impl Context {
    /// What the objects below a member of this name are.
    #[must_use]
    pub fn below(name: &[u8]) -> Self {
        match name {
            b"extension" | b"modifierExtension" => Self::Extension,
            b"contained" | b"resource" => Self::Resource,
            _ => Self::Element,
        }
    }
}

fn walk<'a>(value: Value<'a>, context: Context, found: &mut impl FnMut(Place, Value<'a>)) {
    value.elements().filter(|element| element.is_container()).for_each(|element| walk(element, context, found));
    value.members().for_each(|one| member(&one.name_bytes(), one.value, context, found));
}

fn member<'a>(name: &[u8], value: Value<'a>, context: Context, found: &mut impl FnMut(Place, Value<'a>)) {
    let place = match name {
        b"reference" => Some(Place::Reference),
        b"url" if context == Context::Element => Some(Place::Address),
        b"valueUrl" | b"valueUri" => Some(Place::Address),
        _ => None,
    };
    if let Some(place) = place {
        value.flatten().filter(|value| value.is_string()).for_each(|value| found(place, value));
    }
    if value.is_container() {
        walk(value, Context::below(name), found);
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]
    use url::Url;

    use super::*;
    use crate::json::{Json, Limits};

    const BODY: &str = r##"{"resourceType":"Observation","url":"http://gw/fhir/Observation/name","subject":{"reference":"http:\/\/gw/fhir/Patient/P1"},
        "extension":[{"url":"http://gw/fhir/x","valueReference":{"reference":"Patient/P2"},"extension":[{"url":"y","valueUri":"http://gw/fhir/Binary/1"}]}],
        "contained":[{"resourceType":"Media","content":{"url":"http://up/fhir/Binary/2"},"url":"canonical"}],
        "odd":{"reference":["Patient/P3",{"reference":"Patient/P4"}]},"text":{"div":"http://gw/fhir/Patient/P5"},
        "deep":[[{"reference":"#c"}]]}"##;

    fn parsed() -> Json {
        Json::parse(BODY.as_bytes().to_vec(), Limits::default()).unwrap()
    }

    #[test]
    fn everything_that_points_somewhere_is_found_at_any_depth() {
        let json = parsed();
        let mut found = Vec::new();
        visit(json.root(), &mut |place, value| found.push((place, value.string().unwrap().into_owned())));
        let reference = |text: &str| (Place::Reference, text.to_owned());
        let address = |text: &str| (Place::Address, text.to_owned());
        assert_eq!(
            found,
            [
                reference("http://gw/fhir/Patient/P1"),
                reference("Patient/P2"),
                address("http://gw/fhir/Binary/1"),
                address("http://up/fhir/Binary/2"),
                reference("Patient/P3"),
                reference("Patient/P4"),
                reference("#c"),
            ]
        );
    }

    #[test]
    fn what_is_put_at_a_place_points_as_it_would_there() {
        for (way, value, found) in [
            ("content/0/attachment/url", r#""u""#, &["u"][..]),
            ("content/0/attachment", r#"{"url":"u","title":"t"}"#, &["u"]),
            ("content/-", r#"{"attachment":{"url":"u"}}"#, &["u"]),
            ("content", r#"[{"attachment":{"url":"u"}}]"#, &["u"]),
            ("", r#"{"url":"canonical","content":[{"attachment":{"url":"u"}}]}"#, &["u"]),
            ("url", r#""canonical""#, &[]),
            ("extension/0/url", r#""name""#, &[]),
            ("extension/0", r#"{"url":"name","valueUrl":"u"}"#, &["u"]),
            ("extension/0/valueUri", r#""u""#, &["u"]),
            ("contained/0/url", r#""canonical""#, &[]),
            ("contained/0/content/url", r#""u""#, &["u"]),
            ("content/0/attachment/title", r#""t""#, &[]),
            ("subject/reference", r#""r""#, &["r"]),
        ] {
            let json = Json::parse(value.as_bytes().to_vec(), Limits::default()).unwrap();
            let way: Vec<String> = way.split('/').filter(|token| !token.is_empty()).map(str::to_owned).collect();
            let mut all = Vec::new();
            visit_at(&way, json.root(), &mut |_, value| all.push(value.string().unwrap().into_owned()));
            assert_eq!(all, found, "{way:?} {value}");
        }
    }

    #[test]
    fn what_is_below_our_bases_becomes_relative_and_nothing_else_changes() {
        let json = parsed();
        let url = |text| Url::parse(text).unwrap();
        let bases = Bases::new(&url("http://gw/fhir"), &url("http://up/fhir"), &[]);
        let mut edits = Edits::new(&json);
        relative(json.root(), &bases, &mut edits);
        let text = String::from_utf8(edits.apply().unwrap()).unwrap();
        let expected = BODY
            .replace(r"http:\/\/gw/fhir/Patient/P1", "Patient/P1")
            .replace("http://gw/fhir/Binary/1", "Binary/1")
            .replace("http://up/fhir/Binary/2", "Binary/2");
        assert_eq!(text, expected);
    }
}
