//! The closed list of resource types of FHIR R4 (4.0.1), without the abstract `Resource` and `DomainResource`.
//!
//! Takes a name from the wire, gives a one-byte value. The comparison is exact, letter case included (R4 http.html section 3.1.0.1:
//! URLs are case-sensitive). It does not know profiles, logical models or types of other releases: those are `None`.

mod names;

use std::fmt;

use names::{COUNT, MULTIPLIER, NAMES, SLOT_BITS, SLOTS};

/// One of the 146 resource types of R4. They sort as their names do.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResourceType(u8);

impl ResourceType {
    /// How many resource types there are; every [`ResourceType::index`] is below it.
    pub const COUNT: usize = COUNT;

    /// The type with exactly this name.
    #[must_use]
    #[inline]
    pub fn parse(name: &str) -> Option<Self> {
        // A perfect hash: first and last four bytes and the length pick the only candidate, one comparison decides.
        let bytes = name.as_bytes();
        let first = u64::from(u32::from_le_bytes(*bytes.first_chunk()?));
        let last = u64::from(u32::from_le_bytes(*bytes.last_chunk()?));
        let feature = (first << 32 | last) ^ u64::try_from(bytes.len()).ok()?;
        let slot = feature.wrapping_mul(MULTIPLIER) >> (u64::BITS - SLOT_BITS);
        let index = *SLOTS.get(usize::try_from(slot).ok()?)?;
        (*NAMES.get(usize::from(index))? == name).then_some(Self(index))
    }

    /// The name, as in `resourceType` and in URLs.
    #[must_use]
    #[inline]
    pub fn name(self) -> &'static str {
        // INVARIANT: the field is private and always below COUNT.
        NAMES.get(self.index()).copied().unwrap_or_default()
    }

    /// A number below [`ResourceType::COUNT`], for bit sets and tables.
    #[must_use]
    #[inline]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The type with this [`ResourceType::index`].
    #[must_use]
    pub fn from_index(index: usize) -> Option<Self> {
        u8::try_from(index).ok().filter(|_| index < COUNT).map(Self)
    }

    /// All of them, by name.
    pub fn all() -> impl Iterator<Item = Self> + Clone {
        (0u8..).take(COUNT).map(Self)
    }

    /// Whether the type has `text`, `contained` and `extension` (R4 domainresource.html); `Binary`, `Bundle` and `Parameters`
    /// do not.
    #[must_use]
    pub const fn is_domain_resource(self) -> bool {
        !matches!(self, Self::BINARY | Self::BUNDLE | Self::PARAMETERS)
    }
}

impl fmt::Display for ResourceType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

impl fmt::Debug for ResourceType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn r4_has_146_resource_types_and_each_is_found_by_its_name_only() {
        assert_eq!(ResourceType::COUNT, 146);
        assert_eq!(ResourceType::all().count(), 146);
        for (index, resource_type) in ResourceType::all().enumerate() {
            assert_eq!(resource_type.index(), index);
            assert_eq!(ResourceType::from_index(index), Some(resource_type));
            assert_eq!(ResourceType::parse(resource_type.name()), Some(resource_type));
            assert_eq!(ResourceType::parse(&resource_type.name().to_lowercase()), None);
            assert_eq!(ResourceType::parse(&format!("{resource_type} ")), None);
        }
        assert_eq!(ResourceType::from_index(146), None);
    }

    #[test]
    fn types_sort_as_their_names_do() {
        assert!(NAMES.is_sorted());
    }

    #[test]
    fn what_is_abstract_or_of_another_release_is_no_resource_type() {
        for name in ["", "*", "Pat", "Resource", "DomainResource", "MetadataResource", "SubscriptionStatus", "Citation"]
        {
            assert_eq!(ResourceType::parse(name), None, "{name}");
        }
    }

    #[test]
    fn constants_name_what_they_say() {
        assert_eq!(ResourceType::parse("Patient").unwrap(), ResourceType::PATIENT);
        assert_eq!(ResourceType::OPERATION_OUTCOME.to_string(), "OperationOutcome");
        assert_eq!(format!("{:?}", ResourceType::RELATED_PERSON), "RelatedPerson");
    }

    proptest! {
        #[test]
        fn a_type_is_found_exactly_when_the_list_has_the_name(name in "\\PC*|[A-Z][A-Za-z]{1,12}") {
            prop_assert_eq!(ResourceType::parse(&name).is_some(), NAMES.contains(&name.as_str()));
        }
    }
}
