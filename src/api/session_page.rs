//! One page of ListSessions.

use prost::Message as _;

use super::links::Links;
use super::{answers, page_token};
use crate::domain::id::SessionId;
use crate::domain::session::Session;
use crate::proto::v1;

/// The size at which a page ends early: by default, clients refuse messages over 4 MiB, and a session can have 50 kB of
/// labels.
const PAGE_BYTES_MAX: usize = 3 * 1024 * 1024;

/// Fills a page with the sessions found, or the ids of those that cannot be read. `found` has one more than `page_size` if
/// there is another page.
pub(super) fn fill_page(
    request: &v1::ListSessionsRequest,
    page_size: usize,
    mut found: Vec<Result<Session, SessionId>>,
    links: &Links,
) -> v1::ListSessionsResponse {
    let mut more = found.len() > page_size;
    found.truncate(page_size);
    let mut page = v1::ListSessionsResponse::default();
    let mut last = None;
    let mut room_bytes = PAGE_BYTES_MAX;
    for row in found {
        if room_bytes == 0 {
            more = true;
            break;
        }
        let session_id = match row {
            Ok(session) => {
                let session = answers::session(session, links);
                room_bytes = room_bytes.saturating_sub(session.encoded_len());
                let session_id = session.session_id.clone();
                page.sessions.push(session);
                session_id
            }
            Err(unreadable) => {
                page.unreadable_session_ids.push(unreadable.to_string());
                unreadable.to_string()
            }
        };
        last = Some(session_id);
    }
    page.next_page_token = last
        .filter(|_| more)
        .map(|last| page_token::issue_page_token(request, &last))
        .unwrap_or_default();
    page
}
