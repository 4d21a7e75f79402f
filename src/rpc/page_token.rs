//! Page tokens: where the last page ended, bound to the filters that it was asked with. They carry no authority.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use prost::Message as _;

use crate::domain::id::SessionId;
use crate::proto::v1::ListSessionsRequest;

/// How many bytes of the filters' hash a token carries.
const FILTER_HASH_BYTES: usize = 8;

/// The token of a page that ended with `last`.
pub(super) fn mint(request: &ListSessionsRequest, last: &str) -> String {
    let mut bytes = filter_hash(request);
    bytes.extend_from_slice(last.as_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Where the page before ended; `None` for a token that is not ours or was minted for other filters.
pub(super) fn read(request: &ListSessionsRequest) -> Option<SessionId> {
    let bytes = URL_SAFE_NO_PAD.decode(&request.page_token).ok()?;
    let (hash, last) = bytes.split_at_checked(FILTER_HASH_BYTES)?;
    if hash != filter_hash(request) {
        return None;
    }
    SessionId::parse(std::str::from_utf8(last).ok()?).ok()
}

fn filter_hash(request: &ListSessionsRequest) -> Vec<u8> {
    let filters = ListSessionsRequest {
        page_size: 0,
        page_token: String::new(),
        ..request.clone()
    };
    let hash = digest(&SHA256, &filters.encode_to_vec());
    hash.as_ref()
        .iter()
        .copied()
        .take(FILTER_HASH_BYTES)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request(user_id: &str, page_token: String) -> ListSessionsRequest {
        ListSessionsRequest {
            user_id: user_id.into(),
            page_token,
            page_size: 7,
            ..ListSessionsRequest::default()
        }
    }

    #[test]
    fn a_token_is_good_for_its_own_filters_only() {
        let last = SessionId::from_stored("sess_1".into());
        let token = mint(&request("ann", String::new()), last.as_str());
        assert_eq!(read(&request("ann", token.clone())), Some(last));
        assert_eq!(read(&request("bob", token)), None);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(token in ".*") {
            prop_assert_eq!(read(&request("ann", token)), None);
        }
    }
}
