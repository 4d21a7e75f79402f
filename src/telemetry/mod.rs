//! Logs, traces and metrics. They never contain a secret, token, name or user id.

mod json;
pub mod metrics;

use std::io::{BufWriter, IsTerminal as _};

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::{Level, Metadata};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer};

use json::{JsonFields, JsonLines};

/// Log lines buffered for a slow reader of standard output. The buffer has room for all of them from the start.
const LINES_WAITING_MAX: usize = 8192;
/// Lines that wait are written together, up to so many bytes.
const WRITE_BYTES: usize = 64 * 1024;
const SERVICE: &str = "video-session";
const OWN_TARGETS: &str = "video_session";

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// Readable text.
    Pretty,
}

/// Settings of logs and traces.
#[derive(Debug, Clone)]
pub struct Config {
    /// The format of log lines.
    pub format: LogFormat,
    /// Selects the lines to write.
    pub filter: String,
    /// The collector of spans, if any.
    pub otlp_endpoint: Option<String>,
}

/// Telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// OTEL_EXPORTER_OTLP_ENDPOINT cannot be used.
    #[error("OTEL_EXPORTER_OTLP_ENDPOINT cannot be used")]
    Exporter(#[source] opentelemetry_otlp::ExporterBuildError),
    /// LOG_FILTER cannot be used.
    #[error("LOG_FILTER cannot be used")]
    Filter(#[source] tracing_subscriber::filter::ParseError),
    /// It was set up before.
    #[error("logging is set up already")]
    Twice(#[source] tracing_subscriber::util::TryInitError),
}

/// Sends the remaining spans at shutdown, and writes the remaining lines when dropped.
pub struct Telemetry {
    provider: Option<SdkTracerProvider>,
    _lines: WorkerGuard,
}

/// Whether a text is a filter.
pub fn is_filter(text: &str) -> bool {
    EnvFilter::try_new(text).is_ok()
}

/// Libraries are capped at INFO, whatever LOG_FILTER asks for: below that, the HTTP/2 stack logs headers, and with them the
/// secret, and the span exporter would trace its own exports.
fn is_discreet(metadata: &Metadata<'_>) -> bool {
    metadata.target().starts_with(OWN_TARGETS) || *metadata.level() <= Level::INFO
}

/// Sets up logs on standard output, and span export if it is asked for. Needs the runtime when spans are exported.
///
/// # Errors
/// See [`TelemetryError`].
pub fn init(config: &Config) -> Result<Telemetry, TelemetryError> {
    let filter = EnvFilter::try_new(&config.filter).map_err(TelemetryError::Filter)?;
    // A slow reader of standard output must not block the service, so excess lines are dropped.
    let (output, output_guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(LINES_WAITING_MAX)
        .thread_name("log-writer")
        .finish(BufWriter::with_capacity(WRITE_BYTES, std::io::stdout()));
    let lines = match config.format {
        LogFormat::Json => tracing_subscriber::fmt::layer()
            .fmt_fields(JsonFields)
            .event_format(JsonLines)
            .with_writer(output)
            .boxed(),
        LogFormat::Pretty => tracing_subscriber::fmt::layer()
            // Colours are for terminals only.
            .with_ansi(std::io::stdout().is_terminal())
            .with_writer(output)
            .boxed(),
    };
    let provider = config
        .otlp_endpoint
        .as_deref()
        .map(tracer_provider)
        .transpose()?;
    let spans = provider
        .as_ref()
        .map(|provider| tracing_opentelemetry::layer().with_tracer(provider.tracer(SERVICE)));
    tracing_subscriber::registry()
        .with(filter)
        .with(filter_fn(is_discreet))
        .with(lines)
        .with(spans)
        .try_init()
        .map_err(TelemetryError::Twice)?;
    Ok(Telemetry {
        provider,
        _lines: output_guard,
    })
}

fn tracer_provider(endpoint: &str) -> Result<SdkTracerProvider, TelemetryError> {
    let exporter = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .build()
        .map_err(TelemetryError::Exporter)?;
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(Resource::builder().with_service_name(SERVICE).build())
        .build())
}

impl Telemetry {
    /// Sends the remaining spans. Blocks on the network: do not call it on the runtime's threads.
    pub fn shutdown(self) {
        if let Some(provider) = self.provider
            && let Err(error) = provider.shutdown()
        {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the last spans could not be exported"
            );
        }
    }
}
