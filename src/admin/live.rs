//! Numbers that others keep and that are read when a scraper asks: connections, certificate, audit log.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::audit::Audit;
use crate::listen::{Certificates, Open};

/// Where the numbers are read.
pub struct Live {
    /// Open connections of the public listener.
    pub open: Open,
    /// Its certificate, when it has one.
    pub certificates: Option<Arc<Certificates>>,
    /// The audit log.
    pub audit: Audit,
    /// What is known of the upstream's searches.
    pub searches: Box<dyn Fn() -> Searches + Send + Sync>,
}

/// How the FHIR server confines searches.
#[derive(Debug)]
pub struct Searches {
    /// Probes by result.
    pub probes: [(&'static str, u64); 3],
    /// The resource types that were probed, each with the number of ways in which searches on it are not confined.
    pub unconfined: Vec<(&'static str, usize)>,
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live")
            .field("open", &self.open)
            .field("audit", &self.audit)
            .field("certificates", &self.certificates)
            .finish_non_exhaustive()
    }
}

impl Collector for Live {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let open = i64::try_from(self.open.count()).unwrap_or(i64::MAX);
        gauge(&mut encoder, "connections_open", "Connections of the public listener that are open", open)?;
        let healthy = i64::from(self.audit.healthy());
        gauge(&mut encoder, "audit_healthy", "1 while the audit log can be written", healthy)?;
        let help = "Audit records that became durable";
        let records = encoder.encode_descriptor("audit_records", help, None, MetricType::Counter)?;
        ConstCounter::new(self.audit.records()).encode(records)?;
        let help = "Answers and changes that went on without a durable audit record";
        let unrecorded = encoder.encode_descriptor("audit_unrecorded", help, None, MetricType::Counter)?;
        ConstCounter::new(self.audit.unrecorded()).encode(unrecorded)?;
        self.searches(&mut encoder)?;
        let Some(certificates) = &self.certificates else { return Ok(()) };
        let end = certificates.not_after.load(Ordering::Relaxed);
        gauge(&mut encoder, "tls_not_after_seconds", "When the certificate ends, seconds since 1970", end)?;
        let next = certificates.crl_next_update.load(Ordering::Relaxed);
        if next > 0 {
            let help = "When the first revocation list must be replaced, seconds since 1970";
            gauge(&mut encoder, "tls_crl_next_update_seconds", help, next)?;
        }
        let help = "Reloads of the certificate directory by result";
        let mut reloads = encoder.encode_descriptor("tls_reload", help, None, MetricType::Counter)?;
        for (result, count) in [("ok", &certificates.reloads), ("failed", &certificates.failures)] {
            let labels = [("result", result)];
            ConstCounter::new(count.load(Ordering::Relaxed)).encode(reloads.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

impl Live {
    fn searches(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Searches { probes, unconfined } = (self.searches)();
        let help = "Probes of whether the FHIR server confines searches, by result";
        let mut counters = encoder.encode_descriptor("search_probes", help, None, MetricType::Counter)?;
        for (result, count) in probes {
            ConstCounter::new(count).encode(counters.encode_family(&[("result", result)])?)?;
        }
        if unconfined.is_empty() {
            return Ok(());
        }
        let help =
            "Ways in which searches on the type are not confined, so that those of restricted grants are refused";
        let mut gauges = encoder.encode_descriptor("search_breakers_open", help, None, MetricType::Gauge)?;
        for (resource_type, ways) in unconfined {
            let open = i64::try_from(ways).unwrap_or(i64::MAX);
            ConstGauge::new(open).encode(gauges.encode_family(&[("resource_type", resource_type)])?)?;
        }
        Ok(())
    }
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: i64) -> Result<(), fmt::Error> {
    ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
}

#[cfg(test)]
mod tests;
