//! SMART scopes: what is parsed prints back, nothing outside of the grammar is a resource scope, and a text of scopes grants
//! what its scopes grant one by one, no more.
#![no_main]

use firebreak::fhir::resource_type::ResourceType;
use firebreak::smart::scope::{Letter, Level, Permissions, ResourceScope, Scope, Scopes};

libfuzzer_sys::fuzz_target!(|text: &str| {
    for word in text.split(' ') {
        prints_back(word);
        follows_the_grammar(word);
    }
    grants_what_its_scopes_grant(text);
    covers_what_it_covers(text);
});

fn prints_back(text: &str) {
    let scope = Scope::parse(text);
    let printed = scope.to_string();
    assert_eq!(Scope::parse(&printed), scope, "{text:?} prints as {printed:?}");
    // Only a URI form is printed in other words than it came.
    assert!(printed == text || text.ends_with(&printed), "{text:?} prints as {printed:?}");
}

fn follows_the_grammar(text: &str) {
    let naive = naive(text);
    match (ResourceScope::parse(text), &naive) {
        (None, None) => {}
        (Some(scope), Some((level, resource_type, letters, constraint))) => {
            assert_eq!((scope.level.as_str(), &scope.constraint), (&**level, constraint), "{text:?}");
            assert_eq!(scope.resource_type.map_or("*", ResourceType::name), resource_type, "{text:?}");
            let granted: String = scope.permissions.letters().map(Letter::as_char).collect();
            assert_eq!(&granted, letters, "{text:?}");
        }
        (parsed, naive) => panic!("{text:?} is {parsed:?}, expected {naive:?}"),
    }
}

/// The grammar of the guide, by trying every way in which permissions can be written.
fn naive(text: &str) -> Option<(String, String, String, Option<String>)> {
    let (level, rest) = text.split_once('/')?;
    let (resource_type, rest) = rest.split_once('.')?;
    let (written, constraint) = rest.split_once('?').map_or((rest, None), |(left, right)| (left, Some(right)));
    let known = ["patient", "user", "system"].contains(&level)
        && (resource_type == "*" || ResourceType::all().any(|known| known.name() == resource_type));
    let words = [("read", "rs"), ("write", "cud"), ("*", "cruds")];
    let word = words.into_iter().find(|(word, _)| *word == written && constraint.is_none());
    let subset = (1_u8..32).find_map(|mask| {
        let letters: String =
            "cruds".chars().enumerate().filter(|(bit, _)| mask & 1 << bit != 0).map(|(_, letter)| letter).collect();
        (letters == written).then_some(letters)
    });
    let letters = word.map(|(_, letters)| letters.to_owned()).or(subset)?;
    let sane = constraint.is_none_or(|constraint| {
        constraint.bytes().all(|byte| (0x21..0x7f).contains(&byte) && byte != b'"' && byte != b'\\')
            && constraint.split('&').all(|pair| pair.find('=').is_some_and(|at| at > 0 && at + 1 < pair.len()))
    });
    (known && sane).then(|| (level.to_owned(), resource_type.to_owned(), letters, constraint.map(str::to_owned)))
}

fn grants_what_its_scopes_grant(text: &str) {
    let compiled = Scopes::compile(text);
    let scopes: Vec<ResourceScope> = resource_scopes(text).collect();
    let named = scopes.iter().filter_map(|scope| scope.resource_type);
    let types = named.chain(["Patient", "Observation", "Basic"].into_iter().filter_map(ResourceType::parse));
    for resource_type in types {
        for level in Level::ALL {
            for letter in Letter::ALL {
                let by = |scope: &&ResourceScope| {
                    scope.level == level
                        && scope.resource_type.is_none_or(|of| of == resource_type)
                        && scope.permissions.contains(letter)
                };
                let (wholly, granular): (Vec<_>, Vec<_>) =
                    scopes.iter().filter(by).partition(|scope| scope.constraint.is_none());
                // A text above the bounds grants nothing at all.
                let bounded = text.len() <= 8 * 1024 && text.matches(' ').count() < 512;
                let covered = compiled.covers(level, resource_type, letter);
                assert_eq!(covered, bounded && !wholly.is_empty(), "{text:?}: {level:?} {resource_type} {letter:?}");
                let conditions = compiled.conditions(level, resource_type, letter);
                assert!(conditions.len() <= granular.len(), "{text:?}: {level:?} {resource_type} {letter:?}");
                assert!(conditions.iter().all(|all| !all.is_empty()), "{text:?}: a condition that is none");
            }
        }
    }
}

fn resource_scopes(text: &str) -> impl Iterator<Item = ResourceScope> {
    text.split(' ').filter_map(|word| match Scope::parse(word) {
        Scope::Resource(scope) => Some(scope),
        _ => None,
    })
}

/// A scope that is covered by a registration gives no letter that the registration does not give.
fn covers_what_it_covers(text: &str) {
    let scopes: Vec<Scope> = text.split(' ').take(12).map(Scope::parse).collect();
    for scope in &scopes {
        let known = !matches!(scope, Scope::Unknown(_));
        assert_eq!(scope.is_covered_by(std::slice::from_ref(scope)), known, "{scope:?}");
        for allowed in &scopes {
            if let (Scope::Resource(scope), Scope::Resource(allowed)) = (scope, allowed)
                && Scope::Resource(scope.clone()).is_covered_by(&[Scope::Resource(allowed.clone())])
            {
                assert_eq!(scope.level, allowed.level);
                assert!(allowed.resource_type.is_none_or(|of| Some(of) == scope.resource_type));
                assert!(allowed.constraint.is_none() || allowed.constraint == scope.constraint);
                assert!(is_subset(scope.permissions, allowed.permissions));
            }
        }
    }
}

fn is_subset(one: Permissions, of: Permissions) -> bool {
    one.letters().all(|letter| of.contains(letter))
}
