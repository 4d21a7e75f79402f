//! The addresses of the service's pages. No other file knows their form.

use crate::auth::short_code::ShortCode;
use crate::domain::id::SessionId;

/// The join page's path, as a route.
pub const PAGE_ROUTE: &str = "/join/{session_id}";

/// The path of a short link, as a route.
pub const SHORT_LINK_ROUTE: &str = "/j/{code}";

/// The path of an appointment's calendar file, beneath that of the page.
pub const CALENDAR_ROUTE: &str = "/appointment.ics";

/// The path of a page's requests to its session's SFU node, beneath that of the page.
pub const DOOR_ROUTE: &str = "/sfu/{slot}/{generation}/{*path}";

/// The path of the page of a doctor's day, as a route.
pub const DOCTOR_ROUTE: &str = "/doctor";

/// Builds the service's links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Links {
    base_url: String,
}

impl Links {
    /// `base_url` is the service's address for browsers: scheme, host and path prefix, without a slash at its end.
    pub fn new(base_url: String) -> Self {
        Self { base_url }
    }

    /// The service's address for browsers.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// The origin of the service's pages, as browsers write it.
    pub fn origin(&self) -> &str {
        self.split().0
    }

    /// The path prefix of the service; empty for the root.
    pub fn path_prefix(&self) -> &str {
        self.split().1
    }

    /// Whether browsers reach the service over TLS.
    pub fn is_secure(&self) -> bool {
        self.base_url.starts_with("https://")
    }

    /// The session's join page. Participants also need a token.
    pub fn page(&self, session_id: &SessionId) -> String {
        format!("{}/join/{session_id}", self.base_url)
    }

    /// The link that a participant opens. It is a credential.
    pub fn join(&self, session_id: &SessionId, token: &str) -> String {
        format!("{}?token={token}", self.page(session_id))
    }

    /// The short form of that link. It is a credential, too.
    pub fn short(&self, code: &ShortCode) -> String {
        format!("{}{}", self.origin(), self.short_path(code))
    }

    /// The path of a short link.
    pub fn short_path(&self, code: &ShortCode) -> String {
        format!("{}/j/{}", self.path_prefix(), code.as_str())
    }

    /// The path of the calendar file of a participant's appointment.
    pub fn calendar_path(&self, session_id: &SessionId, slot: &str) -> String {
        format!("{}{CALENDAR_ROUTE}?p={slot}", self.page_path(session_id))
    }

    /// The path of the session's join page, and of everything below it.
    pub fn page_path(&self, session_id: &SessionId) -> String {
        format!("{}/join/{session_id}", self.path_prefix())
    }

    /// The path of the door to the session's SFU node, for a participant. The generation of the session's place follows.
    pub fn door_path(&self, session_id: &SessionId, slot: &str) -> String {
        format!("{}/sfu/{slot}", self.page_path(session_id))
    }

    /// The path and query of a participant's join page, after their token was exchanged for a cookie.
    pub fn slot_path(&self, session_id: &SessionId, slot: &str) -> String {
        format!("{}?p={slot}", self.page_path(session_id))
    }

    /// The link that a doctor opens. It is a credential.
    pub fn doctor(&self, token: &str) -> String {
        format!("{}{DOCTOR_ROUTE}?token={token}", self.base_url)
    }

    /// The path of the page of a doctor's day, and of everything below it.
    pub fn doctor_path(&self) -> String {
        format!("{}{DOCTOR_ROUTE}", self.path_prefix())
    }

    /// The path and query of a doctor's page, after their token was exchanged for a cookie.
    pub fn doctor_slot_path(&self, slot: &str) -> String {
        format!("{}?p={slot}", self.doctor_path())
    }

    fn split(&self) -> (&str, &str) {
        let host = self.base_url.find("://").map_or(0, |found| found + 3);
        let end = self.base_url[host..]
            .find('/')
            .map_or(self.base_url.len(), |slash| host + slash);
        self.base_url.split_at(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_start_with_the_prefix() {
        let session_id = SessionId::from_stored("sess_1".into());
        let links = Links::new("https://clinic.example/Care".into());
        assert_eq!(links.origin(), "https://clinic.example");
        assert_eq!(links.path_prefix(), "/Care");
        assert_eq!(
            links.join(&session_id, "jwt"),
            "https://clinic.example/Care/join/sess_1?token=jwt"
        );
        assert_eq!(links.slot_path(&session_id, "0a"), "/Care/join/sess_1?p=0a");
        assert_eq!(
            links.doctor("jwt"),
            "https://clinic.example/Care/doctor?token=jwt"
        );
        assert_eq!(links.doctor_slot_path("0a"), "/Care/doctor?p=0a");
        let root = Links::new("http://localhost:4000".into());
        assert_eq!(root.origin(), "http://localhost:4000");
        assert_eq!(root.path_prefix(), "");
        assert!(!root.is_secure());
    }

    #[test]
    fn the_route_is_the_path_of_a_page() {
        let session_id = SessionId::from_stored("{session_id}".into());
        assert_eq!(Links::new(String::new()).page_path(&session_id), PAGE_ROUTE);
    }
}
