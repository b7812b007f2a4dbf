//! Whether the FHIR server confines searches as grants with limits need it: every type and parameter that this configuration can
//! come to rely on, asked before anything does.

use std::fmt::Write as _;

use futures_util::future::join_all;

use super::software::{applies, instead};
use super::{Finding, indent};
use crate::config::Config;
use crate::fhir::compartment::unsafe_by_default;
use crate::fhir::resource_type::ResourceType;
use crate::fhir::way::{SearchBy, Way, ways};
use crate::forward::{Probe, Upstream};
use crate::smart::scope::{Letter, Level, Scopes};

/// Probes at the same time.
const AT_A_TIME: usize = 4;

/// What was found about one type and way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Honoured,
    Unusable,
    /// The server did not answer.
    Failed,
    /// It does not say that it searches the type.
    NotOffered,
}

/// Probes everything that is needed, as far as the server says that it searches the type.
pub(super) async fn searches(config: &Config, upstream: &Upstream, probe: &Probe) -> Finding {
    let chosen = config.fhir.search_by;
    let rows = probed(needed(config, chosen, probe), upstream, probe).await;
    let advice = if rows.iter().any(|(_, _, found)| *found == Found::Unusable) {
        another(config, upstream, probe).await
    } else {
        None
    };
    told(&rows, advice)
}

/// Another choice of `search_by` that the server honours everywhere, one that finds all of the compartment if there is one.
async fn another(config: &Config, upstream: &Upstream, probe: &Probe) -> Option<SearchBy> {
    let whole_first = SearchBy::ALL.into_iter().skip(1).chain(SearchBy::ALL.into_iter().take(1));
    for (_, search_by) in whole_first.filter(|(_, search_by)| *search_by != config.fhir.search_by) {
        let rows = probed(needed(config, search_by, probe), upstream, probe).await;
        if rows.iter().all(|(_, _, found)| matches!(found, Found::Honoured | Found::NotOffered)) {
            return Some(search_by);
        }
    }
    None
}

async fn probed(
    needed: Vec<(ResourceType, Way)>,
    upstream: &Upstream,
    probe: &Probe,
) -> Vec<(ResourceType, Way, Found)> {
    let mut rows = Vec::new();
    for few in needed.chunks(AT_A_TIME) {
        let asked = few.iter().map(|(resource_type, way)| async move {
            if !probe.searched.iter().any(|name| name == resource_type.name()) {
                return (*resource_type, *way, Found::NotOffered);
            }
            let found = match upstream.probe_way(*resource_type, *way).await {
                Ok(true) => Found::Honoured,
                Ok(false) => Found::Unusable,
                Err(_) => Found::Failed,
            };
            (*resource_type, *way, found)
        });
        rows.extend(join_all(asked).await);
    }
    rows
}

/// The types that a grant for one patient searches, and the conditions of the clients' granular scopes.
fn needed(config: &Config, search_by: SearchBy, probe: &Probe) -> Vec<(ResourceType, Way)> {
    let scopes: Vec<Scopes> = config.clients.iter().map(|client| Scopes::compile(&client.scope)).collect();
    let software = applies(config, probe);
    let mut needed = Vec::new();
    for resource_type in ResourceType::all() {
        let instead = instead(config, software, resource_type);
        let confining = ways(resource_type, search_by, instead).filter(|_| !unsafe_by_default(resource_type));
        let conditions = scopes.iter().flat_map(|scopes| {
            Level::ALL.into_iter().flat_map(move |level| scopes.conditions(level, resource_type, Letter::Search))
        });
        let conditions = conditions.flat_map(|all| all.iter().map(|condition| Way::Parameter(condition.parameter())));
        for way in confining.chain(conditions) {
            if !needed.contains(&(resource_type, way)) {
                needed.push((resource_type, way));
            }
        }
    }
    needed
}

fn told(rows: &[(ResourceType, Way, Found)], advice: Option<SearchBy>) -> Finding {
    let count = |wanted: Found| rows.iter().filter(|(_, _, found)| *found == wanted).count();
    let (honoured, unusable, failed) = (count(Found::Honoured), count(Found::Unusable), count(Found::Failed));
    let mut table = String::new();
    for (resource_type, way, found) in rows {
        let found = match found {
            Found::Honoured => "honoured",
            Found::Unusable => "unusable: the server ignores it or does not have it",
            Found::Failed => "not probed: the server did not answer",
            Found::NotOffered => "not probed: the server does not say that it searches the type",
        };
        let _ = writeln!(table, "{:<34} {:<22} {found}", resource_type.name(), way.name());
    }
    let number = rows.len();
    let table = indent(&table);
    match unusable + failed {
        0 if honoured == 0 => Ok(format!("none of {number} is offered by the server, so none was probed")),
        0 => {
            let others = if honoured == number { "" } else { ", the others are not offered" };
            Ok(format!("{honoured} of {number} are confined as they are asked to{others}\n{table}"))
        }
        _ => {
            let advice =
                advice.map(|search_by| format!("; all are honoured with `search_by = \"{}\"`", search_by.word()));
            Err(format!(
                "{unusable} unusable and {failed} without an answer of {number}; searches that rely on them are refused, see docs/searching.md{}\n{table}",
                advice.unwrap_or_default()
            ))
        }
    }
}
