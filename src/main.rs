//! Reads the settings, starts the service, runs it until told to stop.

mod cli;

fn main() -> std::process::ExitCode {
    cli::run()
}
