//! Makes a request that shows a defect smaller, so that a person sees what in it matters.
//!
//! Takes a request, gives simpler ones: without a header, a parameter, an alternative, a part of the body, a segment of the
//! path. Whether one of them still shows the defect is for whoever asks.

use serde_json::Value;

use super::grammar::Ask;

/// Requests that are simpler than `ask` in one respect each, the boldest first.
pub(super) fn simpler(ask: &Ask) -> Vec<Ask> {
    let mut found = Vec::new();
    let mut push = |change: &dyn Fn(&mut Ask)| {
        let mut simpler = ask.clone();
        change(&mut simpler);
        if simpler != *ask && !found.contains(&simpler) {
            found.push(simpler);
        }
    };
    if !ask.body.is_empty() {
        push(&|ask| ask.body.clear());
    }
    if !ask.headers.is_empty() {
        push(&|ask| ask.headers.clear());
    }
    for left_out in 0..ask.headers.len() {
        push(&|ask| drop(ask.headers.remove(left_out)));
    }
    if !matches!(ask.method.as_str(), "GET") && ask.body.is_empty() {
        push(&|ask| "GET".clone_into(&mut ask.method));
    }
    // The links of two worlds are sealed: there is nothing in them to leave out.
    if let [target] = ask.targets.as_slice() {
        for target in simpler_targets(target) {
            push(&|ask| ask.targets = vec![target.clone()]);
        }
    }
    for body in simpler_bodies(&ask.body) {
        push(&|ask| ask.body.clone_from(&body));
    }
    found
}

fn simpler_targets(target: &str) -> Vec<String> {
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let mut found = Vec::new();
    if let Some(query) = query {
        found.push(path.to_owned());
        found.extend(simpler_forms(query).into_iter().map(|query| format!("{path}?{query}")));
    }
    let rest = query.map(|query| format!("?{query}")).unwrap_or_default();
    let segments: Vec<&str> = path.split('/').collect();
    for left_out in 2..segments.len() {
        let fewer: Vec<&str> =
            segments.iter().enumerate().filter(|(at, _)| *at != left_out).map(|(_, one)| *one).collect();
        found.push(format!("{}{rest}", fewer.join("/")));
    }
    found
}

/// A form or query without a pair, without a modifier, without one of the alternatives of a value.
fn simpler_forms(form: &str) -> Vec<String> {
    let pairs: Vec<&str> = form.split('&').collect();
    let with = |at: usize, pair: Option<String>| {
        let mut all: Vec<String> = pairs.iter().map(|pair| (*pair).to_owned()).collect();
        match pair {
            Some(pair) => all[at] = pair,
            None => drop(all.remove(at)),
        }
        all.join("&")
    };
    let mut found = Vec::new();
    if pairs.len() > 1 {
        found.extend((0..pairs.len()).map(|at| with(at, None)));
    }
    for (at, pair) in pairs.iter().enumerate() {
        let Some((name, value)) = pair.split_once('=') else { continue };
        if let Some((plain, _)) = name.split_once(':') {
            found.push(with(at, Some(format!("{plain}={value}"))));
        }
        for separator in [",", "%2C"] {
            let parts: Vec<&str> = value.split(separator).collect();
            if parts.len() > 1 {
                found.extend(parts.iter().map(|part| with(at, Some(format!("{name}={part}")))));
            }
        }
    }
    found
}

fn simpler_bodies(body: &str) -> Vec<String> {
    match serde_json::from_str::<Value>(body) {
        Ok(value) => simpler_values(&value).iter().map(Value::to_string).collect(),
        Err(_) if body.contains('=') => simpler_forms(body),
        Err(_) => Vec::new(),
    }
}

/// The value without one of its members or elements, at any depth, those near the root first.
fn simpler_values(value: &Value) -> Vec<Value> {
    let mut found = Vec::new();
    match value {
        Value::Object(members) => {
            for name in members.keys() {
                let mut fewer = members.clone();
                fewer.remove(name);
                found.push(Value::Object(fewer));
            }
            for (name, member) in members {
                for simpler in simpler_values(member) {
                    let mut changed = members.clone();
                    changed.insert(name.clone(), simpler);
                    found.push(Value::Object(changed));
                }
            }
        }
        Value::Array(elements) => {
            for left_out in 0..elements.len() {
                let mut fewer = elements.clone();
                fewer.remove(left_out);
                found.push(Value::Array(fewer));
            }
            for (at, element) in elements.iter().enumerate() {
                for simpler in simpler_values(element) {
                    let mut changed = elements.clone();
                    changed[at] = simpler;
                    found.push(Value::Array(changed));
                }
            }
        }
        _ => {}
    }
    found
}

/// On the way to the smallest request that shows something.
pub(super) struct Shrinking {
    pub(super) smallest: Ask,
    candidates: std::vec::IntoIter<Ask>,
    left: usize,
}

impl Shrinking {
    /// From `ask`, which shows it, by at most `tries` trials.
    pub(super) fn of(ask: Ask, tries: usize) -> Self {
        Self { candidates: simpler(&ask).into_iter(), smallest: ask, left: tries }
    }

    /// What to try next.
    pub(super) fn candidate(&mut self) -> Option<Ask> {
        self.left = self.left.checked_sub(1)?;
        self.candidates.next()
    }

    /// The candidate shows it, too.
    pub(super) fn shown(&mut self, candidate: Ask) {
        self.candidates = simpler(&candidate).into_iter();
        self.smallest = candidate;
    }
}

#[test]
fn a_request_shrinks_to_what_matters() {
    let ask: Ask = serde_json::from_str(
        r#"{"method":"POST","targets":["/fhir/Observation/_search?code=a&patient:not=P1,P2&_count=1"],"headers":["Accept: x","Cookie: y"],"body":"status=final&_sort=date"}"#,
    )
    .unwrap();
    let small = shrunk(ask, |ask| ask.targets[0].contains("P2") && ask.body.contains("_sort"));
    assert_eq!(
        serde_json::to_string(&small).unwrap(),
        r#"{"method":"POST","targets":["/fhir?patient=P2"],"headers":[],"body":"_sort=date"}"#
    );
    let nested: Ask = serde_json::from_str(
        r#"{"method":"POST","targets":["/fhir"],"headers":[],"body":"{\"type\":\"batch\",\"entry\":[{\"request\":{\"method\":\"GET\",\"url\":\"Patient/P2\"}},{\"request\":{}}]}"}"#,
    )
    .unwrap();
    let small = shrunk(nested, |ask| ask.body.contains("Patient/P2"));
    assert_eq!(small.body, r#"{"entry":[{"request":{"url":"Patient/P2"}}]}"#);
}

fn shrunk(ask: Ask, shows: impl Fn(&Ask) -> bool) -> Ask {
    let mut shrinking = Shrinking::of(ask, 500);
    while let Some(candidate) = shrinking.candidate() {
        if shows(&candidate) {
            shrinking.shown(candidate);
        }
    }
    shrinking.smallest
}
