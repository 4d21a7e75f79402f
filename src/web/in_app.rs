//! Recognises browsers inside other apps, in which calls often fail: they lack the camera, or close with the app.

use axum::http::HeaderMap;
use axum::http::header::USER_AGENT;

/// What the apps call themselves in their requests, and what people call them. The first match counts: Messenger's requests also
/// contain Facebook's mark.
const APPS: [(&str, &str); 17] = [
    ("Orca-Android", "Messenger"),
    ("FBAN/Messenger", "Messenger"),
    ("Instagram", "Instagram"),
    ("FBAN/", "Facebook"),
    ("FBAV/", "Facebook"),
    ("FB_IAB/", "Facebook"),
    ("MicroMessenger/", "WeChat"),
    ("Line/", "LINE"),
    ("KAKAOTALK", "KakaoTalk"),
    ("musical_ly", "TikTok"),
    ("BytedanceWebview", "TikTok"),
    ("Snapchat/", "Snapchat"),
    ("LinkedInApp", "LinkedIn"),
    ("Pinterest/", "Pinterest"),
    ("Twitter for", "X"),
    ("Outlook-iOS/", "Outlook"),
    ("Outlook-Android/", "Outlook"),
];

/// The app that a request's browser is part of. Unknown apps, such as a clinic's own, are left alone.
pub(super) fn app_of(headers: &HeaderMap) -> Option<&'static str> {
    let agent = headers.get(USER_AGENT)?.to_str().ok()?;
    APPS.iter()
        .find(|(mark, _)| agent.contains(mark))
        .map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apps_are_told_from_browsers() {
        let app = |agent: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(USER_AGENT, agent.parse().unwrap());
            app_of(&headers)
        };
        let iphone = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)";
        let agents = [
            (
                " Mobile/15E148 Instagram 380.0.0.29.93 (iPhone14,5; iOS 18_5; de_DE)",
                Some("Instagram"),
            ),
            (
                " Mobile/15E148 [FBAN/FBIOS;FBAV/512.0.0.35.92;FBDV/iPhone14,5]",
                Some("Facebook"),
            ),
            (
                " Mobile/15E148 [FBAN/MessengerForiOS;FBAV/500.0.0.1]",
                Some("Messenger"),
            ),
            (
                " Mobile/15E148 MicroMessenger/8.0.57(0x1800392b) NetType/WIFI",
                Some("WeChat"),
            ),
            (" Version/18.5 Mobile/15E148 Safari/604.1", None),
            (" CriOS/137.0.7151.79 Mobile/15E148 Safari/604.1", None),
            (" Mobile/15E148 ClinicApp/3.1", None),
        ];
        for (agent, expected) in agents {
            let agent: &'static str = Box::leak(format!("{iphone}{agent}").into_boxed_str());
            assert_eq!(app(agent), expected, "{agent}");
        }
        assert_eq!(app_of(&HeaderMap::new()), None);
    }
}
