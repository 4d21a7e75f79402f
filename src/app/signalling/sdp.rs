//! The SDP of participants who may not publish.
//!
//! Browsers parse SDP leniently and differently: one may read `a=recvonly` where another reads `a=sendrecv`. So such an SDP
//! is not relayed as sent. It is parsed, restricted to a few exact words, and rewritten; anything that two parsers could read
//! differently is refused.

use sdp_types::{Attribute, Media, Session};

/// The direction attributes.
const DIRECTIONS: [&str; 4] = ["sendrecv", "sendonly", "recvonly", "inactive"];
/// The directions that send no media.
const RECEIVING: [&str; 2] = ["recvonly", "inactive"];
/// Attributes that describe sent media. Browsers also write some of them for receive-only media; they are removed.
const OF_SENDERS: [&str; 5] = ["ssrc", "ssrc-group", "msid", "rid", "simulcast"];
/// How data channels are carried.
const DATA_PROTOS: [&str; 3] = ["UDP/DTLS/SCTP", "TCP/DTLS/SCTP", "DTLS/SCTP"];

/// Rewrites the SDP of a participant who only receives; `None` if it may send audio or video, or is ambiguous.
pub(super) fn receive_only(sdp: &str) -> Option<String> {
    if !sdp.split('\n').all(is_plain) {
        return None;
    }
    let mut session = Session::parse(sdp.as_bytes()).ok()?;
    if !session.attributes.iter().all(is_harmless) {
        return None;
    }
    for media in &mut session.medias {
        if !is_receive_only(media) {
            return None;
        }
        media
            .attributes
            .retain(|attribute| !is_of_sender(attribute));
        media.media_title = None;
        media.key = None;
    }
    session
        .attributes
        .retain(|attribute| !is_of_sender(attribute));
    session.session_description = None;
    session.uri = None;
    session.emails.clear();
    session.phones.clear();
    session.key = None;
    let mut written = Vec::new();
    session.write(&mut written).ok()?;
    String::from_utf8(written).ok()
}

/// Whether a line is printable ASCII, except for a CR at its end.
fn is_plain(line: &str) -> bool {
    let line = line.strip_suffix('\r').unwrap_or(line);
    line.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

fn is_receive_only(media: &Media) -> bool {
    let (directions, others): (Vec<_>, Vec<_>) = media
        .attributes
        .iter()
        .partition(|attribute| DIRECTIONS.contains(&&*attribute.attribute));
    let is_allowed = match &*media.media {
        "audio" | "video" => {
            let [direction] = directions[..] else {
                return false;
            };
            RECEIVING.contains(&&*direction.attribute) && direction.value.is_none()
        }
        // Data has a direction in some browsers; it is neither audio nor video.
        "application" => {
            directions.iter().all(|direction| direction.value.is_none())
                && DATA_PROTOS.contains(&&*media.proto)
        }
        _ => false,
    };
    is_allowed && media.num_ports.is_none() && others.into_iter().all(is_harmless)
}

/// Whether no browser can read an attribute as a direction.
fn is_harmless(attribute: &Attribute) -> bool {
    let name = attribute.attribute.to_ascii_lowercase();
    let is_token = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    !name.is_empty() && is_token && !DIRECTIONS.iter().any(|direction| name.contains(direction))
}

fn is_of_sender(attribute: &Attribute) -> bool {
    OF_SENDERS
        .iter()
        .any(|name| attribute.attribute.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CHROMIUM_OFFER: &str =
        include_str!("../../../tests/fixtures/sdp/chromium-156-recvonly-offer.sdp");
    const CHROMIUM_ANSWER: &str =
        include_str!("../../../tests/fixtures/sdp/chromium-156-recvonly-answer.sdp");
    const FIREFOX_LIKE: &str =
        include_str!("../../../tests/fixtures/sdp/firefox-like-recvonly-offer.sdp");
    const HEAD: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n";
    const AUDIO: &str = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n";
    const VIDEO: &str = "m=video 9 UDP/TLS/RTP/SAVPF 96\r\n";
    const DATA: &str = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n";

    /// Checks a relayed SDP line by line, without the parser that wrote it.
    fn assert_receives_only(sdp: &str) {
        let mut media = None;
        let mut found = 0;
        for line in sdp.split_terminator("\r\n") {
            assert!(
                line.bytes().all(|byte| matches!(byte, b' '..=b'~')),
                "{line:?}"
            );
            if let Some(section) = line.strip_prefix("m=") {
                let name = section.split(' ').next().unwrap();
                assert!(["audio", "video", "application"].contains(&name), "{line}");
                assert!(
                    media.is_none() || media == Some("application") || found == 1,
                    "{sdp}"
                );
                (media, found) = (Some(name), 0);
            }
            let Some(attribute) = line.strip_prefix("a=") else {
                continue;
            };
            let name = attribute.split(':').next().unwrap().to_ascii_lowercase();
            let direction = DIRECTIONS.iter().any(|direction| name.contains(direction));
            if direction && media != Some("application") {
                assert!(media.is_some(), "of the session: {line}");
                assert!(["a=recvonly", "a=inactive"].contains(&line), "{line:?}");
                found += 1;
            }
        }
        assert!(
            media.is_none() || media == Some("application") || found == 1,
            "{sdp}"
        );
    }

    #[test]
    fn sdp_of_browsers_is_relayed_in_full() {
        for sdp in [CHROMIUM_OFFER, CHROMIUM_ANSWER] {
            let relayed = receive_only(sdp).unwrap();
            assert_eq!(relayed, sdp, "nothing is lost, nor in another order");
        }
        let relayed = receive_only(FIREFOX_LIKE).unwrap();
        let kept = |line: &&str| !line.starts_with("a=ssrc") && !line.starts_with("a=msid:");
        let wanted: Vec<_> = FIREFOX_LIKE.lines().filter(kept).collect();
        assert_eq!(relayed.lines().collect::<Vec<_>>(), wanted);
        assert!(wanted.len() < FIREFOX_LIKE.lines().count());
        for sdp in [CHROMIUM_OFFER, CHROMIUM_ANSWER, FIREFOX_LIKE] {
            assert_receives_only(&receive_only(sdp).unwrap());
        }
    }

    #[test]
    fn sections_that_receive_are_relayed() {
        for sdp in [
            HEAD.to_owned(),
            format!("{HEAD}{AUDIO}a=recvonly\r\n"),
            format!("{HEAD}{AUDIO}a=inactive\r\n"),
            format!("{HEAD}{AUDIO}a=recvonly\n{VIDEO}a=inactive\n"),
            format!("{HEAD}{AUDIO}a=recvonly\r\nm=video 0 UDP/TLS/RTP/SAVPF 96\r\na=inactive\r\n"),
            format!("{HEAD}{DATA}"),
            format!("{HEAD}{DATA}a=sendrecv\r\na=sctp-port:5000\r\n"),
            format!(
                "{HEAD}a=group:BUNDLE 0 1\r\n{AUDIO}a=mid:0\r\na=recvonly\r\n{DATA}a=mid:1\r\n"
            ),
        ] {
            let relayed = receive_only(&sdp).unwrap_or_else(|| panic!("refused: {sdp:?}"));
            assert_receives_only(&relayed);
        }
    }

    #[test]
    fn sections_that_are_not_plain_are_refused() {
        let sections = [
            // Without a direction, or with another, or with several.
            "",
            "a=sendrecv\r\n",
            "a=sendonly\r\n",
            "a=recvonly\r\na=sendrecv\r\n",
            "a=sendrecv\r\na=recvonly\r\n",
            "a=recvonly\r\na=recvonly\r\n",
            "a=inactive\r\na=sendonly \r\n",
            "a=recvonly\r\na=inactive\r\n",
            // Not the exact word.
            "a=recvonly-x\r\n",
            "a=recvonly:x\r\n",
            "a=recvonly:\r\n",
            "a=recvonly \r\n",
            "a= recvonly\r\n",
            "a=RecvOnly\r\n",
            "a=recvonlyx\r\n",
            "a=recvonly x\r\n",
            "a=\trecvonly\r\n",
            "A=recvonly\r\n",
            " a=recvonly\r\n",
            "a =recvonly\r\n",
            "a=recvonly\r\r\n",
            "a=recvonly\u{a0}\r\n",
            "a=recv\u{200b}only\r\n",
            // Beside the exact word.
            "a=recvonly\r\na= sendrecv\r\n",
            "a=recvonly\r\na=sendrecv:1\r\n",
            "a=recvonly\r\na=SENDRECV\r\n",
            "a=recvonly\r\na=sendrecv-x\r\n",
            "a=recvonly\r\na=x-sendonly\r\n",
            "a=recvonly\r\na=sendrecv x\r\n",
            "a=recvonly\r\n a=sendrecv\r\n",
            "a=recvonly\r\n\ta=sendrecv\r\n",
            "a=recvonly\r\na=x\ra=sendrecv\r\n",
            "a=recvonly\ra=sendrecv\r\n",
            "a=recvonly\r\na=\u{2003}sendrecv\r\n",
            "a=recvonly\r\na=x\u{85}a=sendrecv\r\n",
            "a=recvonly\r\na=x\u{2028}a=sendrecv\r\n",
            "a=recvonly\r\na=x\u{b}a=sendrecv\r\n",
            "a=recvonly\r\na=\0sendrecv\r\n",
            "a=recvonly\r\na=\r\n",
            "a=recvonly\r\na=mid 0\r\n",
            "a=recvonly\r\na=se\u{17f}\r\n",
            "a=recvonly\r\nsendrecv\r\n",
        ];
        let mut attacks: Vec<_> = sections
            .iter()
            .map(|section| format!("{HEAD}{AUDIO}{section}"))
            .collect();
        attacks.extend(
            sections
                .iter()
                .map(|section| format!("{HEAD}{AUDIO}a=recvonly\r\n{VIDEO}{section}")),
        );
        assert_refused(&attacks);
    }

    fn assert_refused(attacks: &[String]) {
        for sdp in attacks {
            let shown = &sdp[..sdp.len().min(300)];
            assert_eq!(receive_only(sdp), None, "{shown:?}");
        }
    }

    #[test]
    fn other_media_and_directions_of_the_session_are_refused() {
        let mut attacks = Vec::new();
        for line in [
            "m=AUDIO 9 UDP/TLS/RTP/SAVPF 111",
            "m= audio 9 UDP/TLS/RTP/SAVPF 111",
            "m=audio/x 9 UDP/TLS/RTP/SAVPF 111",
            "m=audio  9 UDP/TLS/RTP/SAVPF 111",
            "m=\taudio 9 UDP/TLS/RTP/SAVPF 111",
            "M=audio 9 UDP/TLS/RTP/SAVPF 111",
            "m=image 9 UDP/TLS/RTP/SAVPF 111",
            "m=audio 9/2 UDP/TLS/RTP/SAVPF 111",
            "m=audio",
            "m=",
            "m=application 9 UDP/TLS/RTP/SAVPF 111",
        ] {
            for direction in ["recvonly", "sendrecv"] {
                attacks.push(format!("{HEAD}{line}\r\na={direction}\r\n"));
            }
        }
        let session = format!("{AUDIO}a=recvonly\r\n");
        for line in [
            "a=sendrecv",
            "a=recvonly",
            "a=sendonly:x",
            "a= sendrecv",
            "a=SendRecv",
        ] {
            attacks.push(format!("{HEAD}{line}\r\n{session}"));
        }
        attacks.push(format!("{HEAD}a=recvonly\r\n{AUDIO}{VIDEO}"));
        attacks.push(format!("{HEAD}{AUDIO}{AUDIO}a=recvonly\r\n"));
        attacks.push(format!(
            "{HEAD}m=video 0 UDP/TLS/RTP/SAVPF 96\r\na=bundle-only\r\na=sendrecv\r\n"
        ));
        let long = "y".repeat(60_000);
        attacks.push(format!("{HEAD}{AUDIO}a=x:{long}\r\na=sendrecv\r\n"));
        attacks.push(format!("{HEAD}{DATA}a=sendrecv:x\r\n"));
        attacks.extend(["", "v=0", "x", "\r\n", "{}"].map(|sdp| format!("{sdp}{session}")));
        assert_refused(&attacks);
    }

    /// Lines that an attacker may combine.
    fn line() -> impl Strategy<Value = String> {
        let word = prop::sample::select(vec![
            "sendrecv",
            "sendonly",
            "recvonly",
            "inactive",
            "SendRecv",
            "recvonly-x",
            "mid:0",
            "ssrc:1 cname:x",
            "msid:- x",
            "",
        ]);
        let space = || {
            prop::sample::select(vec![
                "", "", "", "", " ", "\t", "\r", ":", "\u{a0}", "\0", "-",
            ])
        };
        let end = prop::sample::select(vec![
            "\r\n", "\r\n", "\r\n", "\n", "\r", "\u{2028}", "\r\r\n",
        ]);
        let key = prop::sample::select(vec!["a=", "a=", "a=", " a=", "A=", "a =", "i=", "b="]);
        let attribute = (key, space(), word, space(), end)
            .prop_map(|(key, before, word, after, end)| format!("{key}{before}{word}{after}{end}"));
        let media = prop::sample::select(vec![
            AUDIO,
            VIDEO,
            DATA,
            "m=AUDIO 9 UDP/TLS/RTP/SAVPF 111\r\n",
            "m= audio 9 UDP/TLS/RTP/SAVPF 111\r\n",
            "m=audio 0 UDP/TLS/RTP/SAVPF 0\n",
        ]);
        let receiving = prop::sample::select(vec!["a=recvonly\r\n", "a=inactive\r\n"]);
        prop_oneof![
            2 => attribute,
            2 => (media, receiving).prop_map(|(media, direction)| format!("{media}{direction}")),
            1 => media_only(),
        ]
    }

    fn media_only() -> impl Strategy<Value = String> {
        prop::sample::select(vec![AUDIO, VIDEO, DATA]).prop_map(str::to_owned)
    }

    proptest! {
        #[test]
        fn relayed_sdp_only_receives(lines in prop::collection::vec(line(), 0..8)) {
            if let Some(relayed) = receive_only(&format!("{HEAD}{}", lines.concat())) {
                assert_receives_only(&relayed);
                prop_assert_eq!(receive_only(&relayed), Some(relayed.clone()));
            }
        }

        #[test]
        fn a_changed_real_offer_only_receives(at in 0..CHROMIUM_OFFER.len(), put in "[ -~\r\n\ta-z=:]{0,12}", cut in 0_usize..12) {
            let end = (at + cut).min(CHROMIUM_OFFER.len());
            let changed = format!("{}{put}{}", &CHROMIUM_OFFER[..at], &CHROMIUM_OFFER[end..]);
            if let Some(relayed) = receive_only(&changed) {
                assert_receives_only(&relayed);
            }
        }
    }
}
