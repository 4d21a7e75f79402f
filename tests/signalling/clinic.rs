//! Whose page it is, and in which language: what the clinic's settings and a link's locale make of it.

use video_session::proto::v1;
use video_session::proto::v1::Role;

use crate::harness::{create, join};
use crate::world::{Ticket, World, fetch, fetch_in, setup};

const SVG: &str = r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 2 1"/>"#;

/// What stands in one of the page's attributes.
fn attribute<'a>(html: &'a str, name: &str) -> &'a str {
    let (_, rest) = html.split_once(&format!(" {name}=\"")).unwrap();
    rest.split('"').next().unwrap()
}

async fn link(world: &mut World, role: Role, locale: &str) -> String {
    let request = v1::JoinSessionRequest {
        locale: locale.to_owned(),
        ..join(&world.session_id, role)
    };
    let answer = world.client.join_session(request).await.unwrap();
    answer.into_inner().token
}

#[tokio::test]
async fn the_page_is_in_the_language_of_the_link() {
    let mut world = World::with(&setup().set("PAGE_LANGUAGE", "es"), create("a")).await;
    let http = world.service.http;
    for (locale, browser, language) in [
        ("es-MX", "en", "es"),
        ("EN", "es", "en"),
        // There is no page in Welsh: as if the link had none.
        ("cy", "en", "en"),
        ("", "cy, en-GB;q=0.5", "en"),
        ("", "cy", "es"),
    ] {
        let token = link(&mut world, Role::Patient, locale).await;
        let ticket = Ticket::exchange(http, &world.session_id, &token).await;
        let headers = [("cookie", &*ticket.cookie), ("accept-language", browser)];
        let page = fetch(http, &ticket.path(), &headers).await;
        assert_eq!(
            attribute(&page.body, "lang"),
            language,
            "{locale} {browser}"
        );
        assert_eq!(attribute(&page.body, "data-locale"), locale);
        // Neither does who may not come in read another one.
        let forged = format!("/join/{}?token={token}x", world.session_id);
        let error = fetch_in(http, &forged, browser).await;
        assert_eq!(error.code(), "forged");
        assert_eq!(attribute(&error.body, "lang"), language);
    }

    let invited = world
        .client
        .invite_participant(v1::InviteParticipantRequest {
            session_id: world.session_id.clone(),
            role: Role::Interpreter.into(),
            display_name: "Ivo".into(),
            locale: "es".into(),
            ..Default::default()
        });
    let token = invited.await.unwrap().into_inner().join.unwrap().token;
    let ticket = Ticket::exchange(http, &world.session_id, &token).await;
    let headers = [("cookie", &*ticket.cookie), ("accept-language", "en")];
    let page = fetch(http, &ticket.path(), &headers).await;
    assert_eq!(attribute(&page.body, "lang"), "es");
}

#[tokio::test]
async fn the_page_shows_whose_it_is_and_when() {
    let dir = tempfile::tempdir().unwrap();
    let logo = dir.path().join("logo.svg");
    std::fs::write(&logo, SVG).unwrap();
    let setup = setup()
        .set("PAGE_CLINIC_NAME", "Sun <Clinic>")
        .set("PAGE_LOGO_FILE", logo.to_str().unwrap())
        .set("PAGE_COLOR", "#00796b")
        .set("PAGE_PHONE", "+49 (0)30 1234")
        .set("PAGE_END_URL", "https://sun.example/done")
        .set("PAGE_STILLS", "true");
    let request = v1::CreateSessionRequest {
        doctor_name: "Dr. \"Ana\" Ruiz".into(),
        ..create("a")
    };
    let mut world = World::with(&setup, request).await;
    let http = world.service.http;
    let ticket = world.ticket(Role::Patient).await;
    let page = ticket.page(http).await.body;
    assert_eq!(attribute(&page, "data-clinic"), "Sun &lt;Clinic&gt;");
    assert_eq!(attribute(&page, "data-doctor"), "Dr. &quot;Ana&quot; Ruiz");
    assert_eq!(attribute(&page, "data-role"), "patient");
    assert_eq!(attribute(&page, "data-starts-at"), "");
    assert_eq!(attribute(&page, "data-stills"), "true");
    assert!(page.contains("tel:+49301234"));
    assert!(page.contains("https://sun.example/done\""));
    assert!(!page.contains("<!-- clinic"));

    let assets = attribute(&page, "data-assets");
    let css = fetch(http, &format!("{assets}/clinic.css"), &[]).await;
    assert_eq!(css.header("content-type"), "text/css; charset=utf-8");
    assert!(css.body.contains("--accent: #00796b"), "{}", css.body);
    let shown = fetch(http, &format!("{assets}/clinic-logo.svg"), &[]).await;
    assert_eq!((&*shown.body, shown.status), (SVG, 200));
    assert_eq!(shown.header("content-type"), "image/svg+xml");
    // Opened by itself, it runs nothing.
    assert!(shown.header("content-security-policy").contains("sandbox"));
    assert!(shown.header("cache-control").contains("immutable"));

    let doctors = world.ticket(Role::Doctor).await.page(http).await.body;
    assert!(
        !doctors.contains("tel:"),
        "doctors do not call their clinic"
    );

    // Browsers must not keep the former logo.
    std::fs::write(&logo, format!("{SVG}<!-- new -->")).unwrap();
    let mut world = world.restart(&setup).await;
    let page = world
        .ticket(Role::Patient)
        .await
        .page(world.service.http)
        .await;
    assert_ne!(attribute(&page.body, "data-assets"), assets);
}

#[tokio::test]
async fn errors_tell_patients_whom_to_call_and_doctors_not() {
    let setup = setup().set("PAGE_PHONE", "030 1234");
    let mut world = World::with(&setup, create("a")).await;
    let mut errors = Vec::new();
    for role in [Role::Patient, Role::Doctor] {
        let token = link(&mut world, role, "en").await;
        let address = format!("/join/{}?token={token}x", world.session_id);
        errors.push(fetch(world.service.http, &address, &[]).await.body);
    }
    assert!(errors[0].contains("tel:0301234") && errors[0].contains("the practice"));
    assert!(!errors[1].contains("tel:") && !errors[1].contains("the practice"));
}
