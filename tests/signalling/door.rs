//! The join link and the page's address.

use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};
use video_session::proto::v1;
use video_session::proto::v1::Role;

use crate::harness::{JWT_SECRET, create, created, end, in_secs, join, jwt_part, patiently};
use crate::world::{Answer, BASE, Ticket, World, fetch, fetch_bytes, fetch_in, setup, submit};

/// A genuine token but for what `change` does to its claims.
fn forged(genuine: &str, secret: &str, change: impl FnOnce(&mut Value)) -> String {
    let header = Header {
        kid: jwt_part(genuine, 0)["kid"].as_str().map(str::to_owned),
        ..Header::default()
    };
    let mut claims = jwt_part(genuine, 1);
    change(&mut claims);
    let key = EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&header, &claims, &key).unwrap()
}

#[tokio::test]
async fn a_link_is_exchanged_for_a_cookie_and_an_address_without_it() {
    let mut world = World::new().await;
    let (token, id) = (world.token(Role::Patient).await, world.session_id.clone());
    let http = world.service.http;
    let answer = fetch(http, &format!("/join/{id}?token={token}"), &[]).await;
    assert_eq!(answer.status, 303);
    let ticket = Ticket::of(&id, &answer);
    assert_eq!(answer.header("location"), ticket.path());
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("referrer-policy"), "no-referrer");
    assert!(!answer.header("location").contains(&token) && !answer.body.contains(&token));
    let set = answer.header("set-cookie");
    let attributes: Vec<_> = set.split("; ").skip(1).collect();
    assert_eq!(attributes[0], format!("Path=/join/{id}"));
    assert_eq!(attributes[1], "Max-Age=43200");
    assert_eq!(attributes[2..], ["HttpOnly", "SameSite=Lax"]);
    assert!(!set.contains(&token), "the cookie is another credential");

    let page = ticket.page(http).await;
    assert_eq!(page.status, 200);
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert!(page.body.contains("Pat") && page.body.contains(&ticket.slot));
    let (_, credential) = ticket.cookie.split_once('=').unwrap();
    assert!(!page.body.contains(&token) && !page.body.contains(credential));
    // Opened again, it is the same participant in the same slot; and so it is with another link.
    assert_eq!(world.exchange(&token).await.slot, ticket.slot);
    assert_eq!(world.ticket(Role::Patient).await.slot, ticket.slot);
    // A credential for the one is refused for the other.
    let swapped = fetch(http, &format!("/join/{id}?token={credential}"), &[]).await;
    assert_eq!((swapped.status, swapped.code()), (401, "forged"));
    let cookie = format!("vs_{}={token}", ticket.slot);
    let swapped = Ticket { cookie, ..ticket }.page(http).await;
    assert_eq!((swapped.status, swapped.code()), (401, "forged"));
    assert!(!world.service.output().contains(&token), "logged");
}

#[tokio::test]
async fn a_participant_without_a_name_gives_one_once() {
    let mut world = World::new().await;
    let nameless = join(&world.session_id, Role::Patient);
    let token = world.client.join_session(nameless).await.unwrap();
    let ticket = world.exchange(&token.into_inner().token).await;
    let http = world.service.http;
    assert!(
        ticket
            .page(http)
            .await
            .body
            .contains(r#"data-ask-name="true""#)
    );
    let path = format!("/join/{}/name?p={}", ticket.session_id, ticket.slot);
    let from = |origin| [("origin", origin), ("cookie", ticket.cookie.as_str())];
    let long = json!({"name": "x".repeat(257)}).to_string();
    let huge = json!({"name": "x".repeat(5000)}).to_string();
    for (body, fault) in [
        ("Rosa", "the body must be"),
        ("{}", "the body must be"),
        (r#"["Rosa"]"#, "the body must be"),
        (r#"{"name": 7}"#, "the body must be"),
        (r#"{"name": " "}"#, "name must contain a letter or digit"),
        (
            "{\"name\": \"\u{200b}\u{2060}\\t\u{2800}\u{fff9}\u{1d173}\"}",
            "name must contain a letter or digit",
        ),
        (&long, "name must have at most 256"),
        (&huge, "the body is too large"),
    ] {
        let answer = submit(http, &path, &from(BASE), body.to_owned()).await;
        assert_eq!(answer.status, 422, "{body}");
        assert!(answer.body.starts_with(fault), "{}", answer.body);
    }
    let body = "{\"name\": \" Rosa\\t Pérez\u{202e} <b> \"}";
    let elsewhere = submit(http, &path, &from("https://evil.test"), body).await;
    assert_eq!((elsewhere.status, elsewhere.code()), (403, "origin"));
    let several = [
        ("origin", BASE),
        ("origin", "https://evil.test"),
        ("cookie", ticket.cookie.as_str()),
    ];
    let several = submit(http, &path, &several, body).await;
    assert_eq!((several.status, several.code()), (403, "origin"));
    let stranger = submit(http, &path, &[("origin", BASE)], body).await;
    assert_eq!((stranger.status, stranger.code()), (401, "missing-token"));

    let answer = submit(http, &path, &from(BASE), body).await;
    assert_eq!((answer.status, &*answer.body), (204, ""));
    // Naming oneself does not prolong what the link gave.
    assert_eq!(answer.header("set-cookie"), "");
    // Any browser with their link shows the name, also with a cookie from before.
    let page = ticket.page(http).await.body;
    assert!(page.contains(r#"data-ask-name="false""#) && page.contains("Rosa Pérez &lt;b&gt;"));
    let mut page = world.connect(&ticket).await;
    assert_eq!(page.expect("connected").await["name"], "Rosa Pérez <b>");
    let session = world.session().await;
    assert_eq!(session.participants[0].display_name, "Rosa Pérez <b>");
    // The same name again is an answer that was lost; another one is refused.
    assert_eq!(submit(http, &path, &from(BASE), body).await.status, 204);
    let other = r#"{"name": "Ana"}"#;
    assert_eq!(submit(http, &path, &from(BASE), other).await.status, 409);
    let named = world.events().await;
    let named = named
        .iter()
        .filter(|event| event.r#type == "participant.named");
    assert_eq!(named.count(), 1);
    // A name that came with the link stands.
    let ticket = world.ticket(Role::Doctor).await;
    let path = format!("/join/{}/name?p={}", ticket.session_id, ticket.slot);
    let headers = [("origin", BASE), ("cookie", ticket.cookie.as_str())];
    assert_eq!(submit(http, &path, &headers, other).await.status, 409);
    assert!(!world.service.output().contains("Rosa"), "logged");
}

#[tokio::test]
async fn an_address_that_was_mangled_gets_a_page_too() {
    let world = World::new().await;
    let (http, id) = (world.service.http, &world.session_id);
    for (path, status, code) in [
        (format!("/join/{id}?token=a&token=b"), 401, "missing-token"),
        (format!("/join/{id}?p=a&p=b"), 401, "missing-token"),
        ("/join/%ff?token=a".to_owned(), 404, "unknown-session"),
    ] {
        let answer = fetch(http, &path, &[]).await;
        assert_eq!((answer.status, answer.code()), (status, code), "{path}");
    }
}

#[tokio::test]
async fn every_answer_keeps_to_itself() {
    let mut world = World::new().await;
    let ticket = world.ticket(Role::Patient).await;
    let http = world.service.http;
    let missing = fetch(http, "/nothing", &[]).await;
    for answer in [ticket.page(http).await, missing] {
        let csp = answer.header("content-security-policy");
        assert!(csp.starts_with("default-src 'none'; script-src 'self'; style-src 'self'"));
        assert!(csp.contains("frame-ancestors 'none'") && csp.contains("base-uri 'none'"));
        for loose in ["unsafe", "*", "http:", "https:"] {
            let policy = csp.replace("ws://page.test", "");
            assert!(!policy.contains(loose), "{csp}");
        }
        assert_eq!(answer.header("referrer-policy"), "no-referrer");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("x-frame-options"), "DENY");
        assert!(
            answer
                .header("permissions-policy")
                .contains("camera=(self)")
        );
        assert_eq!(answer.header("strict-transport-security"), "");
        // Nothing inline, nothing from elsewhere.
        for line in answer.body.lines() {
            assert!(
                !line.contains("<style") && !line.contains(" style="),
                "{line}"
            );
            assert!(
                !line.contains("<script") || line.contains(" src=\"/"),
                "{line}"
            );
            assert!(!line.contains("://"), "{line}");
        }
    }
}

#[tokio::test]
async fn the_pages_files_are_served_and_nothing_else() {
    let mut world = World::new().await;
    let ticket = world.ticket(Role::Patient).await;
    let http = world.service.http;
    let page = ticket.page(http).await;
    let files: Vec<_> = page
        .body
        .split('"')
        .filter(|text| text.starts_with("/assets/") && text.contains('.'))
        .collect();
    assert!(files.len() >= 3, "{files:?}");
    for file in &files {
        let answer = fetch(http, file, &[]).await;
        assert_eq!(answer.status, 200, "{file}");
        assert!(answer.header("cache-control").contains("immutable"));
        assert!(
            !answer.header("content-type").starts_with("text/html"),
            "{file}"
        );
    }
    let (directory, _) = files[0]
        .rsplit_once("/js/")
        .or(files[0].rsplit_once('/'))
        .unwrap();
    for path in [
        "page.html",
        "../Cargo.toml",
        "%2e%2e/Cargo.toml",
        "js/none.js",
        "",
    ] {
        let answer = fetch(http, &format!("{directory}/{path}"), &[]).await;
        assert_eq!(answer.status, 404, "{path}");
    }
}

#[tokio::test]
async fn the_pages_files_are_compressed_for_those_who_take_it_and_sent_once() {
    let mut world = World::new().await;
    let ticket = world.ticket(Role::Patient).await;
    let http = world.service.http;
    let page = ticket.page(http).await;
    let mut quoted = page.body.split('"');
    let style = quoted.find(|text| text.ends_with("/page.css")).unwrap();
    let plain = fetch(http, style, &[]).await;
    assert_eq!(plain.header("content-encoding"), "");
    assert_eq!(plain.header("vary"), "Accept-Encoding");
    let tag = plain.header("etag");
    let length = |answer: &Answer| answer.header("content-length").parse::<usize>().unwrap();
    let get = async |encoding| fetch_bytes(http, style, &[("accept-encoding", encoding)]).await;
    for (accepted, encoding) in [
        ("gzip, deflate, br", "br"),
        ("gzip", "gzip"),
        ("br;q=0", ""),
    ] {
        let (answer, bytes) = get(accepted).await;
        assert_eq!(answer.header("content-encoding"), encoding);
        assert_eq!(answer.header("etag"), tag);
        match encoding {
            "" => assert_eq!(bytes, plain.body.as_bytes()),
            _ => assert!(3 * length(&answer) < plain.body.len()),
        }
        if encoding == "gzip" {
            let mut text = String::new();
            std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&*bytes), &mut text)
                .unwrap();
            assert_eq!(text, plain.body);
        }
    }
    let known = fetch(http, style, &[("if-none-match", tag)]).await;
    assert_eq!((known.status, &*known.body), (304, ""));
    let other = fetch(http, style, &[("if-none-match", "\"other\"")]).await;
    assert_eq!(other.status, 200);
    // The page itself, and errors.
    for (path, cookie) in [(ticket.path(), &*ticket.cookie), ("/none".to_owned(), "")] {
        let headers = [("cookie", cookie), ("accept-encoding", "gzip, br")];
        let (answer, bytes) = fetch_bytes(http, &path, &headers).await;
        assert_eq!(answer.header("content-encoding"), "gzip");
        let mut text = String::new();
        std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&*bytes), &mut text)
            .unwrap();
        assert!(text.starts_with("<!doctype html>"), "{text}");
    }
}

#[tokio::test]
async fn over_tls_the_cookie_and_the_page_insist_on_it() {
    let secure = setup().set("CLIENT_BASE_URL", "https://clinic.test/video");
    for (ancestors, site) in [
        ("'none'", "SameSite=Lax; Secure"),
        ("https://portal.test", "SameSite=None; Secure; Partitioned"),
    ] {
        let setup = secure.clone().set("FRAME_ANCESTORS", ancestors);
        let setup = setup.set("DATA_DIR", format!("data-{}", ancestors.len()));
        let mut world = World::with(&setup, create("appointment-1")).await;
        let (token, id) = (world.token(Role::Doctor).await, world.session_id.clone());
        let http = world.service.http;
        let answer = fetch(http, &format!("/join/{id}?token={token}"), &[]).await;
        let cookie = answer.header("set-cookie");
        assert!(cookie.ends_with(&format!("HttpOnly; {site}")), "{cookie}");
        assert!(
            cookie.contains(&format!("; Path=/video/join/{id};")),
            "{cookie}"
        );
        assert!(
            answer
                .header("strict-transport-security")
                .starts_with("max-age=")
        );
        let csp = answer.header("content-security-policy");
        assert!(
            csp.ends_with(&format!("frame-ancestors {ancestors}")),
            "{csp}"
        );
        assert!(csp.contains("wss://clinic.test;"), "{csp}");
        let denies = answer.header("x-frame-options") == "DENY";
        assert_eq!(denies, ancestors == "'none'");
    }
}

#[tokio::test]
async fn under_a_prefix_everything_is_there_with_it_and_without() {
    let setup = setup().set("CLIENT_BASE_URL", "http://page.test/some/where/");
    let mut world = World::with(&setup, create("appointment-1")).await;
    let answer = world.session().await;
    let id = &world.session_id.clone();
    assert_eq!(
        answer.base_url,
        format!("http://page.test/some/where/join/{id}")
    );
    let token = world.token(Role::Doctor).await;
    let http = world.service.http;
    for prefix in ["/some/where", ""] {
        let path = format!("{prefix}/join/{id}?token={token}");
        let answer = fetch(http, &path, &[]).await;
        assert_eq!(answer.status, 303);
        let ticket = Ticket::of(id, &answer);
        let location = answer.header("location");
        assert_eq!(location, format!("/some/where{}", ticket.path()));
        let page = fetch(http, location, &[("cookie", &ticket.cookie)]).await;
        assert_eq!(page.status, 200);
        let asset = page.body.split('"').find(|text| text.ends_with(".css"));
        let asset = asset.unwrap().to_owned();
        assert!(asset.starts_with("/some/where/assets/"), "{asset}");
        for asset in [asset.as_str(), &asset["/some/where".len()..]] {
            assert_eq!(fetch(http, asset, &[]).await.status, 200, "{asset}");
        }
        let mut page = ticket.connect(http).await.unwrap();
        page.expect("connected").await;
    }
}

#[tokio::test]
async fn every_refusal_has_its_status_and_its_page() {
    let setup = setup().set("OVERDUE_INTERVAL_MS", 60_000);
    let mut world = World::with(&setup, create("appointment-1")).await;
    let http = world.service.http;
    let genuine = world.token(Role::Patient).await;
    let id = world.session_id.clone();
    let now = i64::try_from(jsonwebtoken::get_current_timestamp()).unwrap();
    let other = created(&mut world.client, create("appointment-2")).await;
    let other = other.session_id;
    let expired = forged(&genuine, JWT_SECRET, |claims| {
        claims["exp"] = json!(now - 61)
    });
    let not_ours = forged(&genuine, &"x".repeat(32), |_| ());
    let unknown = forged(&genuine, JWT_SECRET, |claims| {
        claims["sessionId"] = json!("sess_1")
    });
    let doctor = forged(&genuine, JWT_SECRET, |claims| {
        claims["role"] = json!("doctor")
    });
    let guest = forged(&genuine, JWT_SECRET, |claims| {
        claims["role"] = json!("guest")
    });
    let cases = [
        (format!("/join/{id}"), 401, "missing-token"),
        (format!("/join/{id}?token="), 401, "forged"),
        (format!("/join/{id}?p=0123456789ab"), 401, "missing-token"),
        (format!("/join/{id}?p=nonsense"), 401, "missing-token"),
        (format!("/join/{id}?token=nonsense"), 401, "forged"),
        (format!("/join/{id}?token={not_ours}"), 401, "forged"),
        (format!("/join/{id}?token={expired}"), 401, "expired"),
        (
            format!("/join/{other}?token={genuine}"),
            403,
            "other-session",
        ),
        (format!("/join/{id}?token={doctor}"), 403, "not-invited"),
        (format!("/join/{id}?token={guest}"), 403, "not-invited"),
        (
            format!("/join/sess_1?token={unknown}"),
            404,
            "unknown-session",
        ),
        (
            "/join/not%20an%20id?token=x".to_owned(),
            404,
            "unknown-session",
        ),
        ("/".to_owned(), 404, "not-found"),
        ("/metrics".to_owned(), 404, "not-found"),
    ];
    for (path, status, code) in cases {
        let answer = fetch(http, &path, &[]).await;
        assert_eq!((answer.status, answer.code()), (status, code), "{path}");
        assert!(!answer.body.contains("{{"), "{}", answer.body);
        assert_eq!(answer.header("set-cookie"), "");
        let spanish = fetch_in(http, &path, "en;q=0.8, xx-XX, es-MX;q=0.9").await;
        assert!(spanish.body.contains("lang=\"es\"") && spanish.body != answer.body);
        assert_eq!((spanish.status, spanish.code()), (status, code));
    }
    let ticket = world.exchange(&genuine).await;
    end(&mut world.client, &id, "").await;
    let answer = fetch(http, &format!("/join/{id}?token={genuine}"), &[]).await;
    assert_eq!((answer.status, answer.code()), (410, "ended"));
    let answer = ticket.page(http).await;
    assert_eq!((answer.status, answer.code()), (410, "ended"));
    assert_eq!(ticket.connect(http).await.err(), Some(410));
}

#[tokio::test]
async fn before_the_door_opens_the_page_says_when_it_does() {
    let setup = setup().set("OVERDUE_INTERVAL_MS", 60_000);
    let opens = in_secs(3600);
    let request = v1::CreateSessionRequest {
        scheduled_start_time: Some(in_secs(3600 + 900)),
        ..create("appointment-1")
    };
    let mut world = World::with(&setup, request).await;
    let http = world.service.http;
    // A link is handed out while the door is open, and the appointment moved afterwards.
    let update = |start, end| v1::UpdateSessionRequest {
        scheduled_start_time: start,
        scheduled_end_time: end,
        update_mask: Some(prost_types::FieldMask {
            paths: vec!["scheduled_start_time".into(), "scheduled_end_time".into()],
        }),
        ..Default::default()
    };
    let id = world.session_id.clone();
    let mut moved = async |start, end| {
        let request = v1::UpdateSessionRequest {
            session_id: id.clone(),
            ..update(start, end)
        };
        world.client.update_session(request).await.unwrap();
    };
    moved(None, None).await;
    let ticket = world.ticket(Role::Patient).await;
    let request = v1::UpdateSessionRequest {
        session_id: id.clone(),
        ..update(Some(in_secs(3600 + 900)), None)
    };
    world.client.update_session(request).await.unwrap();
    let answer = ticket.page(http).await;
    assert_eq!((answer.status, answer.code()), (425, "too-early"));
    let (_, rest) = answer.body.split_once("data-opens-at=\"").unwrap();
    let shown = rest.split('"').next().unwrap();
    assert!(shown.ends_with('Z') && shown.len() >= 20, "{shown}");
    let hour_and_minute = |seconds: i64| {
        let of_day = seconds.rem_euclid(86_400);
        format!("T{:02}:{:02}", of_day / 3600, of_day % 3600 / 60)
    };
    let near = [-1, 0, 1, 2].map(|more| hour_and_minute(opens.seconds + more));
    assert!(
        near.iter().any(|time| shown.contains(time)),
        "{shown} {near:?}"
    );
    assert_eq!(ticket.connect(http).await.err(), Some(425));

    let request = v1::UpdateSessionRequest {
        session_id: id.clone(),
        ..update(None, Some(in_secs(-2 * 3600)))
    };
    world.client.update_session(request).await.unwrap();
    let answer = ticket.page(http).await;
    assert_eq!((answer.status, answer.code()), (410, "too-late"));
}

#[tokio::test]
async fn two_participants_share_a_browser() {
    let mut world = World::new().await;
    let http = world.service.http;
    let doctor = world.ticket(Role::Doctor).await;
    let patient = world.ticket(Role::Patient).await;
    assert_ne!(doctor.slot, patient.slot);
    let jar = format!("other=1; {}; {}", doctor.cookie, patient.cookie);
    for (ticket, user_id) in [(doctor, "doctor-1"), (patient, "patient-1")] {
        let ticket = Ticket {
            cookie: jar.clone(),
            ..ticket
        };
        assert_eq!(ticket.page(http).await.status, 200);
        let mut page = ticket.connect(http).await.unwrap();
        assert_eq!(page.expect("connected").await["user_id"], user_id);
        // Reload, and back.
        assert_eq!(ticket.page(http).await.status, 200);
    }
}

#[tokio::test]
async fn an_address_that_asks_for_too_much_is_refused() {
    let setup = setup()
        .set("HTTP_REQUESTS_PER_MINUTE", 5)
        .set("TRUSTED_PROXIES", "127.0.0.0/8, 10.1.2.3");
    let world = World::with(&setup, create("appointment-1")).await;
    let http = world.service.http;
    let ask = async |forwarded: &str| {
        let answer = fetch(http, "/", &[("x-forwarded-for", forwarded)]).await;
        if answer.status == 429 {
            assert_eq!(answer.code(), "rate-limited");
            assert!(!answer.header("retry-after").is_empty());
        }
        answer.status
    };
    for _ in 0..5 {
        assert_eq!(ask("192.0.2.1").await, 404);
    }
    assert_eq!(ask("192.0.2.1").await, 429);
    assert_eq!(ask("192.0.2.2").await, 404, "another address");
    // What a client writes itself stands before what the proxy appended; other trusted proxies are passed over.
    assert_eq!(ask("192.0.2.3, 192.0.2.1").await, 429);
    assert_eq!(ask("192.0.2.4, 192.0.2.1, 10.1.2.3").await, 429);
    assert_eq!(ask("192.0.2.1, 192.0.2.5").await, 404);
    // One subscriber has a /64.
    for n in 0..5 {
        assert_eq!(ask(&format!("2001:db8:1:2::{n}")).await, 404);
    }
    assert_eq!(ask("2001:db8:1:2:ffff::1").await, 429);
    assert_eq!(ask("2001:db8:1:3::1").await, 404);
}

#[tokio::test]
async fn whoever_is_no_proxy_is_not_believed() {
    let setup = setup().set("HTTP_REQUESTS_PER_MINUTE", 3);
    let world = World::with(&setup, create("appointment-1")).await;
    let mut refused = 0;
    for n in 0..5 {
        let forwarded = format!("192.0.2.{n}");
        let headers = [("x-forwarded-for", forwarded.as_str())];
        let answer = fetch(world.service.http, "/", &headers).await;
        refused += usize::from(answer.status == 429);
    }
    assert_eq!(refused, 2);
}

#[tokio::test]
async fn the_demonstration_prints_two_links_that_work() {
    let demo = ["GRPC_ADDR", "ADMIN_ADDR", "HTTP_ADDR", "REST_ADDR"]
        .into_iter()
        .fold(crate::harness::Setup::bare(&["demo"]), |setup, addr| {
            setup.set(addr, "127.0.0.1:0")
        })
        .set("CLIENT_BASE_URL", crate::world::BASE);
    let service = demo.start().await;
    service.line(|line| line.contains("Patient:")).await;
    let links = patiently(async {
        loop {
            let output = service.output();
            let links: Vec<_> = output
                .lines()
                .filter_map(|line| line.trim().strip_prefix(crate::world::BASE))
                .map(str::to_owned)
                .collect();
            if links.len() == 2 {
                return links;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    let mut pages = Vec::new();
    for link in links {
        let answer = fetch(service.http, &link, &[]).await;
        let location = answer.header("location");
        let (session_id, _) = location
            .strip_prefix("/join/")
            .and_then(|rest| rest.split_once('?'))
            .unwrap();
        let ticket = Ticket::of(session_id, &answer);
        let mut page = ticket.connect(service.http).await.unwrap();
        let connected = page.expect("connected").await;
        pages.push((page, connected["role"].as_str().unwrap().to_owned()));
    }
    assert_eq!((&*pages[0].1, &*pages[1].1), ("doctor", "patient"));
    pages[0].0.until("user-joined").await;
}
