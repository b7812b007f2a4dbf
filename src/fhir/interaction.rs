//! The interactions of the FHIR REST API (R4 http.html), each with what its path names. Which request means which of them,
//! `canonicalise` finds out; which are served, `authorize` decides.

use super::reference::LogicalId as Id;
use super::resource_type::ResourceType;

/// Every interaction that the path grammar can name.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are the parts of the path above them")]
pub enum Interaction {
    /// `GET T/id`
    Read { resource_type: ResourceType, id: Id },
    /// `GET T/id/_history/v`
    Vread { resource_type: ResourceType, id: Id, version: Id },
    /// `GET T/id/_history`
    HistoryInstance { resource_type: ResourceType, id: Id },
    /// `GET T/_history`
    HistoryType { resource_type: ResourceType },
    /// `GET _history`
    HistorySystem,
    /// `GET T?…`, `POST T/_search`
    SearchType { resource_type: ResourceType },
    /// `GET ?…`, `POST _search`
    SearchSystem,
    /// `GET C/id/T?…`, `POST C/id/T/_search`; `None`: `C/id/*`
    SearchCompartment { compartment: ResourceType, id: Id, resource_type: Option<ResourceType> },
    /// `POST T`
    Create { resource_type: ResourceType },
    /// `PUT T/id`
    Update { resource_type: ResourceType, id: Id },
    /// `PATCH T/id`
    Patch { resource_type: ResourceType, id: Id },
    /// `DELETE T/id`
    Delete { resource_type: ResourceType, id: Id },
    /// `PUT T?…`
    ConditionalUpdate { resource_type: ResourceType },
    /// `PATCH T?…`
    ConditionalPatch { resource_type: ResourceType },
    /// `DELETE T?…`
    ConditionalDelete { resource_type: ResourceType },
    /// `POST` on the base
    Batch,
    /// The same, when the Bundle in it was found to be a transaction
    Transaction,
    /// `$op`, `T/$op`, `T/id/$op`
    Operation { resource_type: Option<ResourceType>, id: Option<Id>, name: String },
    /// `GET metadata`
    Capabilities,
}

impl Interaction {
    /// FHIR's code for it where there is one (R4 valueset-restful-interaction.html), for records.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Read { .. } => "read",
            Self::Vread { .. } => "vread",
            Self::HistoryInstance { .. } => "history-instance",
            Self::HistoryType { .. } => "history-type",
            Self::HistorySystem => "history-system",
            Self::SearchType { .. } | Self::SearchCompartment { .. } => "search-type",
            Self::SearchSystem => "search-system",
            Self::Create { .. } => "create",
            Self::Update { .. } | Self::ConditionalUpdate { .. } => "update",
            Self::Patch { .. } | Self::ConditionalPatch { .. } => "patch",
            Self::Delete { .. } | Self::ConditionalDelete { .. } => "delete",
            Self::Batch => "batch",
            Self::Transaction => "transaction",
            Self::Operation { .. } => "operation",
            Self::Capabilities => "capabilities",
        }
    }

    /// Of a search or an operation: its path below the base, without `_search`. Empty for other interactions.
    #[must_use]
    pub fn search_path(&self) -> String {
        match self {
            Self::SearchType { resource_type } => resource_type.name().to_owned(),
            Self::SearchCompartment { compartment, id, resource_type } => {
                format!("{compartment}/{id}/{}", resource_type.map_or("*", ResourceType::name))
            }
            Self::Operation { resource_type, id, name } => {
                let of = resource_type.map(|of| format!("{of}/")).unwrap_or_default();
                let id = id.as_ref().map(|id| format!("{id}/")).unwrap_or_default();
                format!("{of}{id}${name}")
            }
            _ => String::new(),
        }
    }

    /// Of a history: its path below the base. `None` for other interactions.
    #[must_use]
    pub fn history_path(&self) -> Option<String> {
        match self {
            Self::HistoryInstance { resource_type, id } => Some(format!("{resource_type}/{id}/_history")),
            Self::HistoryType { resource_type } => Some(format!("{resource_type}/_history")),
            Self::HistorySystem => Some("_history".to_owned()),
            _ => None,
        }
    }

    /// Whether it changes what is stored. A batch may, and an operation is for whoever lists it to say.
    #[must_use]
    pub fn changes(&self) -> bool {
        match self {
            Self::Create { .. }
            | Self::Update { .. }
            | Self::Patch { .. }
            | Self::Delete { .. }
            | Self::ConditionalUpdate { .. }
            | Self::ConditionalPatch { .. }
            | Self::ConditionalDelete { .. }
            | Self::Batch
            | Self::Transaction => true,
            Self::Read { .. }
            | Self::Vread { .. }
            | Self::HistoryInstance { .. }
            | Self::HistoryType { .. }
            | Self::HistorySystem
            | Self::SearchType { .. }
            | Self::SearchSystem
            | Self::SearchCompartment { .. }
            | Self::Operation { .. }
            | Self::Capabilities => false,
        }
    }

    /// The resource type that the path names.
    #[must_use]
    pub fn resource_type(&self) -> Option<ResourceType> {
        match self {
            Self::Read { resource_type, .. }
            | Self::Vread { resource_type, .. }
            | Self::HistoryInstance { resource_type, .. }
            | Self::HistoryType { resource_type }
            | Self::SearchType { resource_type }
            | Self::Create { resource_type }
            | Self::Update { resource_type, .. }
            | Self::Patch { resource_type, .. }
            | Self::Delete { resource_type, .. }
            | Self::ConditionalUpdate { resource_type }
            | Self::ConditionalPatch { resource_type }
            | Self::ConditionalDelete { resource_type } => Some(*resource_type),
            Self::SearchCompartment { resource_type, .. } | Self::Operation { resource_type, .. } => *resource_type,
            Self::HistorySystem | Self::SearchSystem | Self::Batch | Self::Transaction | Self::Capabilities => None,
        }
    }
}
