//! The command line: one file per command.

mod demo;
mod hash_password;
mod healthcheck;
mod serve;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use video_session::config::env::{Env, Fault};
use video_session::config::{Config, HealthTarget};

/// The control plane of a telemedicine backend's video consultations. Settings come from the environment and from `.env`;
/// `.env.example` lists them all.
#[derive(Parser)]
#[command(name = "video-session", disable_version_flag = true)]
struct Cli {
    /// For trying the service out: generated secrets, loopback only. Not for production.
    #[arg(long, global = true)]
    dev: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Run the service (the default).
    Serve,
    /// Start everything on this machine, create a session, and print the links of its doctor and its patient.
    Demo,
    /// Check the settings, report every fault, and exit.
    CheckConfig,
    /// Ask the running service for its health; exit with 0 if it is healthy. For containers without a shell.
    Healthcheck {
        /// Ask for readiness instead of liveness.
        #[arg(long)]
        ready: bool,
    },
    /// Read a password from standard input, and print the line of its user for LEGACY_USERS_FILE.
    HashPassword {
        /// The user's name.
        #[arg(long)]
        name: String,
        /// The user's role: admin or user.
        #[arg(long)]
        role: String,
    },
    /// Print the version.
    Version,
}

/// The settings are faulty: sysexits.h's EX_CONFIG.
const EXIT_CONFIG: u8 = 78;

/// Runs the command that the arguments name.
pub(crate) fn run() -> ExitCode {
    let cli = Cli::parse();
    // These need no settings.
    match &cli.command {
        Some(Command::Version) => {
            println!("video-session {}", env!("CARGO_PKG_VERSION"));
            return ExitCode::SUCCESS;
        }
        Some(Command::HashPassword { name, role }) => return hash_password::run(name, role),
        _ => {}
    }
    // Before any setting is read and any thread started, because it changes the process's environment.
    if let Err(fault) = read_dotenv() {
        eprintln!("{fault}");
        return ExitCode::from(EXIT_CONFIG);
    }
    let is_demo = matches!(cli.command, Some(Command::Demo));
    let lookup = |name: &str| Some(std::env::var_os(name)?.to_string_lossy().into_owned());
    if let Some(Command::Healthcheck { ready }) = cli.command {
        return match HealthTarget::read(Env::new(&lookup), cli.dev) {
            Ok(target) => healthcheck::run(target, ready),
            Err(faults) => report_faults(faults),
        };
    }
    let config = match Config::read(Env::new(&lookup), cli.dev || is_demo) {
        Ok(config) => config,
        Err(faults) => return report_faults(faults),
    };
    match cli.command {
        Some(Command::CheckConfig) => check_config(&config),
        _ => serve::run(config, is_demo),
    }
}

fn report_faults(faults: Vec<Fault>) -> ExitCode {
    eprintln!("video-session cannot start with these settings:");
    for fault in faults {
        eprintln!("  {fault}");
    }
    ExitCode::from(EXIT_CONFIG)
}

fn check_config(config: &Config) -> ExitCode {
    for warning in &config.warnings {
        println!("warning: {warning}");
    }
    println!("the settings are valid");
    ExitCode::SUCCESS
}

/// Errors never contain the line, which may hold a secret.
fn read_dotenv() -> Result<(), String> {
    if let Ok(lines) = dotenvy::dotenv_iter() {
        // The environment cannot hold NUL bytes; setting them would panic.
        let invalid: Vec<_> = lines
            .flatten()
            .filter(|(_, value)| value.contains('\0'))
            .map(|(setting, _)| format!("{setting} in .env must not contain a NUL byte"))
            .collect();
        if !invalid.is_empty() {
            return Err(invalid.join("\n"));
        }
    }
    match dotenvy::dotenv() {
        Ok(_) => Ok(()),
        Err(error) if error.not_found() => Ok(()),
        Err(dotenvy::Error::LineParse(_, column)) => {
            Err(format!(".env has an invalid line, near character {column}"))
        }
        Err(_) => Err(".env cannot be read".to_owned()),
    }
}

/// Prints an error and its causes.
fn report_error(error: &dyn std::error::Error) {
    eprintln!("video-session: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        eprintln!("  because: {cause}");
        source = cause.source();
    }
}
