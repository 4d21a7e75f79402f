//! The users' file: one line for each, `name:role:hash`.

use std::collections::HashMap;
use std::fmt;

use strum::{EnumString, IntoStaticStr};

use crate::auth::password::{HASH_RULE, PasswordError, StoredPassword, hash_password};
use crate::domain::id::{ID_RULE, UserId};

/// The largest file that is read, in bytes.
pub const FILE_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// The most users that a file may have.
const USERS_MAX: usize = 10_000;
/// The most faults that are told.
const FAULTS_MAX: usize = 20;
/// What the names of users of this API cannot begin with: the ids that stand for no user.
const RESERVED: &str = "openvidu:";

/// What a user may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum UserRole {
    /// Moderates a session, if no other admin does.
    Admin,
    /// Takes part.
    User,
}

impl UserRole {
    /// The role's name.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

struct User {
    role: UserRole,
    password: StoredPassword,
}

/// The users, at least one.
pub struct Users {
    by_name: HashMap<String, User>,
    /// What the password of an unknown user is compared with, so that it takes as long.
    decoy: StoredPassword,
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} users", self.by_name.len())
    }
}

impl Users {
    /// Reads the file's text.
    ///
    /// # Errors
    /// All faults, each with its line's number and without its text.
    pub fn parse(text: &str) -> Result<Self, Vec<String>> {
        let mut by_name = HashMap::new();
        let mut faults = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match parse_line(line) {
                Ok((name, _)) if by_name.contains_key(&name) => {
                    faults.push(format!("line {number}: the name is listed twice"));
                }
                Ok((name, user)) => drop(by_name.insert(name, user)),
                Err(fault) => faults.push(format!("line {number}: {fault}")),
            }
            if by_name.len() > USERS_MAX {
                faults.push(format!("has more than {USERS_MAX} users"));
                break;
            }
            if faults.len() == FAULTS_MAX {
                faults.push("has perhaps further faults".to_owned());
                break;
            }
        }
        let decoy = by_name.values().next().map(|user| user.password.clone());
        match decoy {
            Some(decoy) if faults.is_empty() => Ok(Self { by_name, decoy }),
            None if faults.is_empty() => Err(vec!["has no users".to_owned()]),
            Some(_) | None => Err(faults),
        }
    }

    /// The role of a user; `None` if there is no such user.
    pub(super) fn role_of(&self, name: &str) -> Option<UserRole> {
        self.by_name.get(name).map(|user| user.role)
    }

    /// The role of the user who has this password. Blocks as long whether the user or the password is wrong.
    pub(super) fn check(&self, name: &str, password: &[u8]) -> Option<UserRole> {
        let user = self.by_name.get(name);
        let stored = user.map_or(&self.decoy, |user| &user.password);
        let is_right = stored.is_of(password);
        user.filter(|_| is_right).map(|user| user.role)
    }
}

/// The name and what is known of the user. A fault repeats nothing of the line.
fn parse_line(line: &str) -> Result<(String, User), String> {
    const RULE: &str = "must be name:role:hash";
    // Names may have colons; roles and hashes have none.
    let (rest, hash) = line.rsplit_once(':').ok_or(RULE)?;
    let (name, role) = rest.rsplit_once(':').ok_or(RULE)?;
    let name = parse_name(name)?;
    let role = role.parse().map_err(|_| "the role must be admin or user")?;
    let password = StoredPassword::parse(hash).map_err(|_| format!("the hash {HASH_RULE}"))?;
    Ok((name, User { role, password }))
}

fn parse_name(name: &str) -> Result<String, String> {
    if UserId::parse(name).is_err() {
        return Err(format!("the name {ID_RULE}"));
    }
    if name.starts_with(RESERVED) {
        return Err(format!("the name must not begin with {RESERVED}"));
    }
    Ok(name.to_owned())
}

/// No line can be written.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// The name breaks a rule.
    #[error("{0}")]
    Name(String),
    /// The password cannot be used.
    #[error(transparent)]
    Password(#[from] PasswordError),
}

/// The line of a user, for the file.
///
/// # Errors
/// [`LineError`]
pub fn write_line(name: &str, role: UserRole, password: &[u8]) -> Result<String, LineError> {
    let name = parse_name(name).map_err(LineError::Name)?;
    let hash = hash_password(password)?;
    Ok(format!("{name}:{}:{hash}", role.name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_name_and_password() {
        let lines = [
            write_line("dr:lee", UserRole::Admin, b"one").expect("a line"),
            "# a comment".to_owned(),
            String::new(),
            write_line("ana", UserRole::User, b"two").expect("a line") + "  ",
        ];
        let users = Users::parse(&lines.join("\r\n")).expect("users");
        assert_eq!(users.check("dr:lee", b"one"), Some(UserRole::Admin));
        assert_eq!(users.check("ana", b"two"), Some(UserRole::User));
        for (name, password) in [("ana", "one"), ("eve", "one"), ("eve", "two"), ("", "")] {
            assert_eq!(users.check(name, password.as_bytes()), None);
        }
        assert_eq!(users.role_of("ana"), Some(UserRole::User));
        assert_eq!(users.role_of("Ana"), None);
    }

    #[test]
    fn every_fault_is_told_with_its_line_and_without_its_text() {
        let good = write_line("ana", UserRole::User, b"two").expect("a line");
        let text = format!(
            "{good}\n{good}\nhunter2\nben:root:hunter2\nb en:user:hunter2\nben:user:hunter2\nopenvidu:x:user:hunter2"
        );
        let faults = Users::parse(&text).expect_err("faulty");
        let starts: Vec<_> = faults.iter().map(|fault| &fault[..7]).collect();
        assert_eq!(
            starts,
            [
                "line 2:", "line 3:", "line 4:", "line 5:", "line 6:", "line 7:"
            ]
        );
        assert!(!faults.join(" ").contains("hunter2"), "{faults:?}");
        assert_eq!(
            Users::parse("# none\n").expect_err("empty"),
            ["has no users"]
        );
        let many = "x\n".repeat(100);
        assert_eq!(
            Users::parse(&many).expect_err("faulty").len(),
            FAULTS_MAX + 1
        );
    }

    #[test]
    fn there_is_a_limit_of_users() {
        let hash = hash_password(b"x").expect("a hash");
        let users = |count| {
            let lines = (0..count).map(|number| format!("user-{number}:user:{hash}\n"));
            Users::parse(&lines.collect::<String>())
        };
        assert!(users(USERS_MAX).is_ok());
        assert!(users(USERS_MAX + 1).is_err());
    }
}
