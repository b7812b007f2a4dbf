//! Numbers that others keep and that are read when a scraper asks: connections, certificate, audit log.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::listen::{Certificates, Open};

/// Where the numbers are read.
pub struct Live {
    /// Open connections of the public listener.
    pub open: Open,
    /// Its certificate, when it has one.
    pub certificates: Option<Arc<Certificates>>,
    /// Whether the audit log can be written.
    pub audit_healthy: Box<dyn Fn() -> bool + Send + Sync>,
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live")
            .field("open", &self.open)
            .field("certificates", &self.certificates)
            .finish_non_exhaustive()
    }
}

impl Collector for Live {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let open = i64::try_from(self.open.count()).unwrap_or(i64::MAX);
        gauge(&mut encoder, "connections_open", "Connections of the public listener that are open", open)?;
        let healthy = i64::from((self.audit_healthy)());
        gauge(&mut encoder, "audit_healthy", "1 while the audit log can be written", healthy)?;
        let Some(certificates) = &self.certificates else { return Ok(()) };
        let end = certificates.not_after.load(Ordering::Relaxed);
        gauge(&mut encoder, "tls_not_after_seconds", "When the certificate ends, seconds since 1970", end)?;
        let help = "Reloads of the certificate directory by result";
        let mut reloads = encoder.encode_descriptor("tls_reload", help, None, MetricType::Counter)?;
        for (result, count) in [("ok", &certificates.reloads), ("failed", &certificates.failures)] {
            let labels = [("result", result)];
            ConstCounter::new(count.load(Ordering::Relaxed)).encode(reloads.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: i64) -> Result<(), fmt::Error> {
    ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
}
