//! Page tokens: the end of the last page, bound to the request's filters. They grant no access.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use prost::Message as _;

use crate::domain::id::SessionId;
use crate::proto::v1::ListSessionsRequest;

/// The bytes of the hash over filters and place in a token.
const HASH_BYTES: usize = 8;

/// Issues the token of a page that ended with `last`.
pub(super) fn issue_page_token(request: &ListSessionsRequest, last: &str) -> String {
    let mut bytes = hash(request, last);
    bytes.extend_from_slice(last.as_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Returns the end of the previous page; `None` for a token that is not ours or was issued for other filters.
pub(super) fn parse_page_token(request: &ListSessionsRequest) -> Option<SessionId> {
    let bytes = URL_SAFE_NO_PAD.decode(&request.page_token).ok()?;
    let (found, last) = bytes.split_at_checked(HASH_BYTES)?;
    let last = std::str::from_utf8(last).ok()?;
    if found != hash(request, last) {
        return None;
    }
    // Any id in the store, so that a list also gets past a damaged one.
    Some(SessionId::from_stored(last.to_owned()))
}

fn hash(request: &ListSessionsRequest, last: &str) -> Vec<u8> {
    let bound = ListSessionsRequest {
        page_size: 0,
        page_token: last.to_owned(),
        ..request.clone()
    };
    let hash = digest(&SHA256, &bound.encode_to_vec());
    hash.as_ref().iter().copied().take(HASH_BYTES).collect()
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
    fn a_token_is_valid_for_its_own_filters_only() {
        let last = SessionId::from_stored("sess_1".into());
        let token = issue_page_token(&request("ann", String::new()), last.as_str());
        assert_eq!(parse_page_token(&request("ann", token.clone())), Some(last));
        assert_eq!(parse_page_token(&request("bob", token.clone())), None);
        for broken in [
            format!("{token}!"),
            format!(" {token}"),
            token[1..].to_owned(),
        ] {
            assert_eq!(parse_page_token(&request("ann", broken)), None);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let token = URL_SAFE_NO_PAD.encode(bytes);
            prop_assert_eq!(parse_page_token(&request("ann", token)), None);
        }

        #[test]
        fn a_token_with_another_place_is_refused(place in "sess_[0-9a-f]{1,32}", other in "[a-z_0-9]{0,40}") {
            prop_assume!(place != other);
            let token = issue_page_token(&request("ann", String::new()), &place);
            let mut bytes = URL_SAFE_NO_PAD.decode(token).expect("base64");
            bytes.truncate(HASH_BYTES);
            bytes.extend_from_slice(other.as_bytes());
            let token = URL_SAFE_NO_PAD.encode(bytes);
            prop_assert_eq!(parse_page_token(&request("ann", token)), None);
        }

        #[test]
        fn any_place_is_read_back(place in ".{1,40}") {
            let request = request("ann", String::new());
            let token = issue_page_token(&request, &place);
            let with_token = ListSessionsRequest { page_token: token, ..request };
            prop_assert_eq!(parse_page_token(&with_token), Some(SessionId::from_stored(place)));
        }
    }
}
