//! Reads the settings, starts the service, runs it until told to stop.

mod cli;

/// Also SQLite's, by the feature `override`: glibc's gives the end of a thread's heap back to the system, and asks for it
/// again, at nearly every write.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    cli::run()
}
