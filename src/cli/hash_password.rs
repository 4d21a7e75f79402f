//! Makes the line of a user of an older service's API. The password comes from standard input, because other users of the machine
//! see a command's arguments.

use std::io::{BufRead as _, IsTerminal as _, Read as _, Write as _};
use std::process::ExitCode;

use video_session::auth::password::PASSWORD_BYTES_MAX;
use video_session::legacy::openvidu::{UserRole, write_line};

use super::report_error;

pub(super) fn run(name: &str, role: &str) -> ExitCode {
    let Ok(role) = role.parse::<UserRole>() else {
        eprintln!("video-session: --role must be admin or user");
        return ExitCode::FAILURE;
    };
    let password = match read_password() {
        Ok(password) => password,
        Err(error) => {
            report_error(&error);
            return ExitCode::FAILURE;
        }
    };
    match write_line(name, role, password.as_bytes()) {
        Ok(line) => match writeln!(std::io::stdout(), "{line}") {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                report_error(&error);
                ExitCode::FAILURE
            }
        },
        Err(error) => {
            report_error(&error);
            ExitCode::FAILURE
        }
    }
}

/// The first line of standard input, without its end.
fn read_password() -> std::io::Result<String> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        eprintln!("Password (it stays visible):");
    }
    // A password of more bytes is refused whole, not cut.
    let mut line = stdin.lock().take(PASSWORD_BYTES_MAX as u64 + 2);
    let mut password = String::new();
    line.read_line(&mut password)?;
    let end = password.trim_end_matches(['\r', '\n']).len();
    password.truncate(end);
    Ok(password)
}
