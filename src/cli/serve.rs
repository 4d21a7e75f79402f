//! Runs the service until the system asks it to stop.

use std::io::Write as _;
use std::process::ExitCode;

use secrecy::ExposeSecret as _;
use tokio::signal::unix::{SignalKind, signal};
use video_session::boot::{Addresses, NodeReloader, Service};
use video_session::config::Config;
use video_session::domain::id::random_id;
use video_session::rpc::SERVICE_NAME;
use video_session::telemetry;

use super::{demo, report_error};

/// The file descriptors of the store, logs and listeners.
const OTHER_FILES: u64 = 256;

pub(super) fn run(config: Config, is_demo: bool) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            report_error(&error);
            return ExitCode::FAILURE;
        }
    };
    let telemetry = {
        let _runtime = runtime.enter();
        telemetry::init(&config.telemetry)
    };
    let telemetry = match telemetry {
        Ok(telemetry) => telemetry,
        Err(error) => {
            report_error(&error);
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(serve(config, is_demo));
    telemetry.shutdown();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report_error(error.as_ref());
            ExitCode::FAILURE
        }
    }
}

/// Every connection needs a file descriptor, and default limits are low.
fn raise_file_limit(config: &Config) {
    let optional = [config.health_addr, config.rest_addr, config.legacy_addr];
    let grpc_listeners = 1 + optional.iter().flatten().count();
    let wanted = config.web.connections.connections_max
        + grpc_listeners * config.rpc.connections_max
        + config.admin.connections_max;
    let wanted = u64::try_from(wanted).unwrap_or(u64::MAX) + OTHER_FILES;
    match rlimit::increase_nofile_limit(wanted) {
        Ok(limit) if limit < wanted => tracing::warn!(
            limit,
            wanted,
            "the open file limit (ulimit -n) is too low for HTTP_CONNECTIONS_MAX and GRPC_CONNECTIONS_MAX"
        ),
        _ => {}
    }
}

async fn serve(config: Config, is_demo: bool) -> Result<(), Box<dyn std::error::Error>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    // Handling SIGXFSZ keeps the process alive: a write beyond the file size limit then fails like any other.
    let _file_size_signal = signal(SignalKind::from_raw(libc::SIGXFSZ))?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let links = config.api.links.clone();
    let dev_header = config.dev.then(|| secret_header(&config));
    raise_file_limit(&config);
    let store = config.store.name();
    let service = Service::start(config).await?;
    let addresses = service.addresses()?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        store,
        grpc_addr = %addresses.grpc,
        admin_addr = %addresses.admin,
        http_addr = %addresses.http,
        health_addr = addresses.health.map(tracing::field::display),
        rest_addr = addresses.rest.map(tracing::field::display),
        legacy_addr = addresses.legacy.map(tracing::field::display),
        "listening"
    );
    if let Some(header) = dev_header {
        tracing::warn!("--dev: generated secrets and loopback only; this is not for production");
        let next_steps = if is_demo {
            demo::create_session(service.app(), &links).await?
        } else {
            example_commands(&addresses, &header)
        };
        // Standard output may be closed; ignore the failure.
        let _ = writeln!(std::io::stdout(), "{next_steps}");
    }
    let reloader = service.node_reloader();
    let stop = async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => return,
                _ = interrupt.recv() => return,
                _ = hangup.recv() => match &reloader {
                    Some(reloader) => reload_nodes(reloader),
                    // The terminal is gone.
                    None => return,
                },
            }
        }
    };
    service.run(stop).await?;
    Ok(())
}

fn reload_nodes(reloader: &NodeReloader) {
    let lookup = |name: &str| Some(std::env::var_os(name)?.to_string_lossy().into_owned());
    match reloader.reload(&lookup) {
        Ok(()) => tracing::info!("the SFU nodes were read again"),
        Err(error) => tracing::error!(%error, "the SFU nodes stay as they were"),
    }
}

/// The header for a shell command. A generated secret is shown; a configured one is left to a shell variable.
fn secret_header(config: &Config) -> String {
    if config.internal_secret_is_generated {
        format!(
            "'x-internal-secret: {}'",
            config.internal_secret.expose_secret()
        )
    } else {
        "\"x-internal-secret: $INTERNAL_SECRET\"".to_owned()
    }
}

/// Two commands that each work by themselves: the one that joins also creates the session, which is safe to repeat.
fn example_commands(addresses: &Addresses, header: &str) -> String {
    let addr = addresses.grpc;
    let appointment_id = format!("appointment-{}", &random_id()[..8]);
    let call = format!("grpcurl -plaintext -H {header}");
    let create = format!(
        "{call} -d '{{\"appointment_id\":\"{appointment_id}\",\"doctor_id\":\"doctor-1\",\"patient_id\":\"patient-1\"}}' {addr} {SERVICE_NAME}/CreateSession"
    );
    let session_id = format!("$({create} | grep -o 'sess_[0-9a-f]*' | head -n 1)");
    let join = format!(
        "{call} -d \"{{\\\"session_id\\\":\\\"{session_id}\\\",\\\"role\\\":\\\"ROLE_DOCTOR\\\",\\\"user_id\\\":\\\"doctor-1\\\"}}\" {addr} {SERVICE_NAME}/JoinSession"
    );
    let page = addresses
        .rest
        .map(|rest| format!("\nOr try every call in a browser: http://{rest}/docs\n"))
        .unwrap_or_default();
    format!("\nCreate a session:\n\n{create}\n\nJoin it as its doctor:\n\n{join}\n{page}")
}
