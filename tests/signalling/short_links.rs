//! Short links, as people pass them on and apps open them.

use axum::http::header::{COOKIE, USER_AGENT};
use video_session::proto::v1::{self, Role};

use crate::harness::{JWT_SECRET, create, in_secs, join};
use crate::world::{Answer, BASE, Ticket, World, fetch, setup};

const IN_INSTAGRAM: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
     Mobile/15E148 Instagram 380.0.0.29.93 (iPhone14,5; iOS 18_5; de_DE)";

/// Joins, and returns the answer's short link without its host.
async fn short_path(world: &mut World, role: Role) -> String {
    let request = v1::JoinSessionRequest {
        display_name: "Ada Lovelace".to_owned(),
        ..join(&world.session_id, role)
    };
    let answer = world.client.join_session(request).await.unwrap();
    path_of(&answer.into_inner())
}

fn path_of(answer: &v1::JoinSessionResponse) -> String {
    let path = answer.short_url.strip_prefix(BASE).unwrap();
    assert!(path.starts_with("/j/") && path.len() <= 40, "{path}");
    path.to_owned()
}

async fn open(world: &World, path: &str) -> Answer {
    fetch(world.service.http, path, &[]).await
}

/// The session that the role's user reaches by the link.
async fn enters(world: &World, path: &str) -> Ticket {
    let answer = open(world, path).await;
    assert_eq!(answer.status, 303, "{path}: {}", answer.body);
    let ticket = Ticket::of(&world.session_id, &answer);
    let page = ticket.page(world.service.http).await;
    assert_eq!(page.status, 200, "{}", page.body);
    ticket
}

async fn refused(world: &World, path: &str) -> (u16, String) {
    let answer = open(world, path).await;
    (answer.status, answer.code().to_owned())
}

#[tokio::test]
async fn a_short_link_opens_the_page_as_often_as_it_is_opened() {
    let mut world = World::new().await;
    let path = short_path(&mut world, Role::Patient).await;
    assert!(!path.contains("Ada") && !path.contains(&world.session_id));
    let (first, second) = (enters(&world, &path).await, enters(&world, &path).await);
    assert_eq!(first.slot, second.slot);
    let page = first.page(world.service.http).await;
    assert!(page.body.contains("data-name=\"Ada Lovelace\""));
    let mut patient = world.connect(&second).await;
    let connected = patient.expect("connected").await;
    assert_eq!(
        (&connected["role"], &connected["name"]),
        (&"patient".into(), &"Ada Lovelace".into())
    );
    // A link without a name, such as a doctor's list makes, does not take the name away.
    let nameless = join(&world.session_id, Role::Patient);
    let answer = world.client.join_session(nameless).await.unwrap();
    assert_eq!(path_of(&answer.into_inner()), path);
    let page = enters(&world, &path).await.page(world.service.http).await;
    assert!(page.body.contains("data-name=\"Ada Lovelace\""));
    // It stays the same for the same user, and everybody has their own.
    assert_eq!(short_path(&mut world, Role::Patient).await, path);
    assert_ne!(short_path(&mut world, Role::Doctor).await, path);
}

#[tokio::test]
async fn a_short_link_survives_being_passed_on() {
    let mut world = World::new().await;
    let path = short_path(&mut world, Role::Patient).await;
    let code = path.strip_prefix("/j/").unwrap();
    let typed = format!(
        "/j/{}",
        code.to_ascii_uppercase()
            .replace('0', "O")
            .replace('1', "L")
    );
    for passed_on in [
        &typed,
        &format!("{path}."),
        &format!("{path})."),
        &format!("{path}%3E"),
        &format!("{path}/"),
    ] {
        enters(&world, passed_on).await;
    }
    let incomplete = (401, "missing-token".to_owned());
    assert_eq!(refused(&world, &path[..path.len() - 1]).await, incomplete);
    assert_eq!(refused(&world, "/j/0").await, incomplete);
    let forged = (401, "forged".to_owned());
    let (start, end) = code.split_at(25);
    let other = if end == "0" { '1' } else { '0' };
    assert_eq!(refused(&world, &format!("/j/{start}{other}")).await, forged);
    assert_eq!(refused(&world, &format!("{path}0")).await, forged);
    assert_eq!(refused(&world, "/j/a%00b").await, forged);
}

#[tokio::test]
async fn a_long_link_survives_punctuation_and_is_known_to_be_cut() {
    let mut world = World::new().await;
    let token = world.token(Role::Patient).await;
    let path = format!("/join/{}?token={token}", world.session_id);
    for passed_on in [
        format!("{path}."),
        format!("{path})."),
        format!("{path}%22,"),
    ] {
        enters(&world, &passed_on).await;
    }
    let incomplete = (401, "missing-token".to_owned());
    for cut in [1, 20, 60, token.len() - 10] {
        assert_eq!(
            refused(&world, &path[..path.len() - cut]).await,
            incomplete,
            "{cut}"
        );
    }
    let forged = (401, "forged".to_owned());
    let (start, _) = path.split_at(path.len() - 8);
    assert_eq!(refused(&world, &format!("{start}AAAAAAAA")).await, forged);
}

#[tokio::test]
async fn a_removal_and_the_end_revoke_short_links() {
    let mut world = World::new().await;
    let path = short_path(&mut world, Role::Patient).await;
    let user_id = join(&world.session_id, Role::Patient).user_id;
    world.remove(&user_id, false).await;
    assert_eq!(refused(&world, &path).await, (403, "removed".to_owned()));
    let next = short_path(&mut world, Role::Patient).await;
    assert_ne!(next, path);
    enters(&world, &next).await;
    // The session has dropped the first one.
    assert_eq!(refused(&world, &path).await, (401, "forged".to_owned()));
    let request = v1::EndSessionRequest {
        session_id: world.session_id.clone(),
        ..Default::default()
    };
    world.client.end_session(request).await.unwrap();
    assert_eq!(refused(&world, &next).await, (410, "ended".to_owned()));
}

#[tokio::test]
async fn links_can_be_made_days_ahead() {
    let request = v1::CreateSessionRequest {
        scheduled_start_time: Some(in_secs(3 * 86_400)),
        scheduled_end_time: Some(in_secs(3 * 86_400 + 1800)),
        doctor_name: "Dr. <Lee>".to_owned(),
        ..create("appointment-1")
    };
    let mut world = World::with(&setup(), request).await;
    let early = join(&world.session_id, Role::Patient);
    let refused_now = world.client.join_session(early.clone()).await.unwrap_err();
    assert_eq!(refused_now.code(), tonic::Code::FailedPrecondition);
    let request = v1::JoinSessionRequest {
        before_window: true,
        ..early
    };
    let answer = world
        .client
        .join_session(request)
        .await
        .unwrap()
        .into_inner();
    let path = path_of(&answer);

    let opened = open(&world, &path).await;
    let (_, age) = opened.header("set-cookie").split_once("Max-Age=").unwrap();
    let age: i64 = age.split(';').next().unwrap().parse().unwrap();
    assert!(age > 3 * 86_400, "the page may stay open until then: {age}");
    let ticket = Ticket::of(&world.session_id, &opened);
    let page = ticket.page(world.service.http).await;
    assert_eq!((page.status, page.code()), (425, "too-early"));
    assert!(page.body.contains("With Dr. &lt;Lee&gt;"), "{}", page.body);
    let attribute = |name: &str| {
        let (_, rest) = page.body.split_once(&format!("{name}=\"")).unwrap();
        rest.split('"').next().unwrap().to_owned()
    };
    let starts: String = attribute("data-starts-at")
        .chars()
        .filter(|c| c.is_ascii_alphanumeric())
        .collect();
    let calendar = attribute("data-calendar").replace("&amp;", "&");
    let cookie = (COOKIE.as_str(), ticket.cookie.as_str());
    let file = fetch(world.service.http, &calendar, &[cookie]).await;
    assert_eq!(file.status, 200, "{}", file.body);
    assert!(file.header("content-type").starts_with("text/calendar"));
    let seconds = starts.split_at(15).0;
    assert!(
        file.body.contains(&format!("\r\nDTSTART:{seconds}Z\r\n")),
        "{} {starts}",
        file.body
    );
    assert!(file.body.contains(&answer.short_url), "{}", file.body);
    assert!(file.body.contains("\r\nBEGIN:VALARM\r\n") && !file.body.contains("Lee"));
    // It is the participant's alone.
    let without_cookie = fetch(world.service.http, &calendar, &[]).await;
    assert_eq!(without_cookie.status, 401);

    // The same link opens the page as soon as the window is open.
    let request = v1::UpdateSessionRequest {
        session_id: world.session_id.clone(),
        scheduled_start_time: Some(in_secs(60)),
        ..Default::default()
    };
    world.client.update_session(request).await.unwrap();
    enters(&world, &path).await;
}

#[tokio::test]
async fn an_early_link_has_no_ticket_of_a_node() {
    let mut world = World::new().await;
    let request = v1::JoinSessionRequest {
        before_window: true,
        with_sfu_ticket: true,
        ..join(&world.session_id, Role::Patient)
    };
    let status = world.client.join_session(request).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::InvalidArgument);
    assert!(
        status.message().contains("before_window"),
        "{}",
        status.message()
    );
}

#[tokio::test]
async fn short_links_survive_a_restart_and_end_with_their_key() {
    const NEXT: &str = "the-next-signing-secret-of-more-than-32-bytes";
    let first = setup();
    let mut world = World::with(&first, create("appointment-1")).await;
    let path = short_path(&mut world, Role::Patient).await;

    let rotating = first
        .set("VIDEO_JWT_SECRET", NEXT)
        .set("VIDEO_JWT_SECRET_PREVIOUS", JWT_SECRET);
    let mut world = world.restart(&rotating).await;
    enters(&world, &path).await;
    assert_eq!(short_path(&mut world, Role::Patient).await, path);

    let rotated = rotating.unset("VIDEO_JWT_SECRET_PREVIOUS");
    let mut world = world.restart(&rotated).await;
    assert_eq!(refused(&world, &path).await, (401, "forged".to_owned()));
    let next = short_path(&mut world, Role::Patient).await;
    assert_ne!(next, path);
    enters(&world, &next).await;
}

#[tokio::test]
async fn other_apps_browsers_are_led_out() {
    let mut world = World::new().await;
    let short = short_path(&mut world, Role::Patient).await;
    let token = world.token(Role::Patient).await;
    let long = format!("/join/{}?token={token}", world.session_id);
    let http = world.service.http;
    for link in [&short, &long] {
        let agent = [(USER_AGENT.as_str(), IN_INSTAGRAM)];
        let notice = fetch(http, link, &agent).await;
        assert_eq!(notice.status, 200);
        assert!(
            notice.body.contains("data-testid=\"in-app-title\"")
                && notice.body.contains("Instagram")
        );
        assert_eq!(notice.header("set-cookie"), "");
        let (_, rest) = notice
            .body
            .split_once("data-testid=\"stay\" href=\"")
            .unwrap();
        let stay = rest.split('"').next().unwrap().replace("&amp;", "&");
        let stayed = fetch(http, &stay, &agent).await;
        assert_eq!(stayed.status, 303, "{stay}");
        // The same link works elsewhere afterwards.
        enters(&world, link).await;
        // So does the address that the app passes on.
        let location = stayed.header("location");
        assert!(location.contains("#j="), "{location}");
    }
    // What is wrong with a link is said at once.
    let forged = fetch(
        http,
        "/j/00000000000000000000000000",
        &[(USER_AGENT.as_str(), IN_INSTAGRAM)],
    )
    .await;
    assert_eq!((forged.status, forged.code()), (401, "forged"));
}
