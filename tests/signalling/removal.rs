//! Who is removed, who is kept out, and who is invited.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;
use video_session::domain::error::Reason;
use video_session::domain::participant::REMOVALS_MAX;
use video_session::proto::v1;
use video_session::proto::v1::{Admission, Role};

use crate::harness::{Setup, create, in_secs, join, patiently, refused};
use crate::world::{Ticket, World, fetch, setup};

fn invitation(role: Role, user_id: &str) -> v1::InviteParticipantRequest {
    v1::InviteParticipantRequest {
        role: role.into(),
        user_id: user_id.to_owned(),
        display_name: "Ana".to_owned(),
        ..Default::default()
    }
}

/// Nothing that they were given lets them in.
async fn assert_kept_out(world: &World, token: &str, ticket: &Ticket) {
    let http = world.service.http;
    let path = format!("/join/{}?token={token}", world.session_id);
    let answer = fetch(http, &path, &[]).await;
    assert_eq!((answer.status, answer.code()), (403, "removed"));
    let answer = ticket.page(http).await;
    assert_eq!((answer.status, answer.code()), (403, "removed"));
    assert_eq!(ticket.connect(http).await.err(), Some(403));
}

#[tokio::test]
async fn whoever_is_removed_cannot_come_back_with_what_they_had() {
    for by_host in [true, false] {
        let setup = setup();
        let mut world = World::with(&setup, create("appointment-1")).await;
        let token = world.token(Role::Patient).await;
        let ticket = world.exchange(&token).await;
        let mut doctor = world.admitted(Role::Doctor).await;
        let mut patient = world.connect(&ticket).await;
        patient.until("existing-participants").await;
        doctor.expect("user-joined").await;
        // Two tabs of the same participant are one participant.
        if by_host {
            doctor.about("remove", "patient-1");
        } else {
            let session = world.remove("patient-1", false).await;
            assert_eq!(session.participants.len(), 1);
        }
        patient.expect("removed").await;
        assert_eq!(patient.closed().await, Some(4003));
        let left = doctor.expect("user-left").await;
        assert_eq!(
            (&left["user_id"], &left["cause"]),
            (&json!("patient-1"), &json!("removed"))
        );
        assert_kept_out(&world, &token, &ticket).await;
        assert_eq!(
            world.event_types().await[2..],
            ["participant.removed", "participant.left"]
        );

        world = world.restart(&setup).await;
        assert_kept_out(&world, &token, &ticket).await;
        // The backend may give them another; the old ones stay dead.
        let again = world.ticket(Role::Patient).await;
        assert_kept_out(&world, &token, &ticket).await;
        let mut patient = world.connect(&again).await;
        patient.expect("connected").await;
    }
}

#[tokio::test]
async fn whoever_is_kept_out_gets_nothing_new() {
    for by_host in [true, false] {
        let mut world = World::new().await;
        let (mut doctor, mut patient) = world.couple().await;
        if by_host {
            doctor.send(&json!({"type": "remove", "target_id": "patient-1", "keep_out": true}));
        } else {
            world.remove("patient-1", true).await;
        }
        patient.expect("removed").await;
        doctor.expect("user-left").await;
        let request = join(&world.session_id, Role::Patient);
        let outcome = world.client.join_session(request).await;
        refused(outcome, Reason::ParticipantRemoved);
    }
}

#[tokio::test]
async fn one_who_waits_or_is_not_there_can_be_removed_too() {
    let mut world = World::admitting(Admission::Manual).await;
    let token = world.token(Role::Patient).await;
    let ticket = world.exchange(&token).await;
    world.remove("patient-1", false).await;
    assert_kept_out(&world, &token, &ticket).await;
    let mut doctor = world.admitted(Role::Doctor).await;
    let ticket = world.ticket(Role::Patient).await;
    let mut patient = world.connect(&ticket).await;
    patient.until("waiting").await;
    doctor.expect("waiting").await;
    doctor.about("remove", "patient-1");
    patient.expect("removed").await;
    assert_eq!(patient.closed().await, Some(4003));
    assert_eq!(doctor.expect("user-left").await["cause"], "removed");
    assert_eq!(ticket.connect(world.service.http).await.err(), Some(403));
    let request = v1::RemoveParticipantRequest {
        session_id: world.session_id.clone(),
        user_id: "nobody".to_owned(),
        keep_out: false,
    };
    let outcome = world.client.remove_participant(request).await;
    refused(outcome, Reason::ParticipantNotFound);
}

#[tokio::test]
async fn the_invited_come_in_their_roles() {
    let mut world = World::new().await;
    let (mut doctor, mut patient) = world.couple().await;
    for (role, name) in [
        (Role::Guest, "guest"),
        (Role::Interpreter, "interpreter"),
        (Role::Observer, "observer"),
    ] {
        let user_id = format!("{name}-7");
        let answer = world.invite(invitation(role, &user_id)).await.unwrap();
        let invite = answer.invite.unwrap();
        assert_eq!((&*invite.user_id, invite.role()), (&*user_id, role));
        let grant = answer.join.unwrap();
        let observes = role == Role::Observer;
        let permission = if observes { "observer" } else { "participant" };
        assert_eq!(
            (grant.role(), &*grant.permissions),
            (role, &[permission.to_owned()][..])
        );
        assert_eq!(
            grant.join_url,
            format!("{}?token={}", world.session().await.base_url, grant.token)
        );
        let ticket = world.exchange(&grant.token).await;
        let mut page = world.connect(&ticket).await;
        let connected = page.expect("connected").await;
        assert_eq!(
            (&connected["role"], &connected["name"]),
            (&json!(name), &json!("Ana"))
        );
        page.expect("existing-participants").await;
        for other in [&mut doctor, &mut patient] {
            let joined = other.expect("user-joined").await;
            assert_eq!(
                (&joined["role"], &joined["publishes"]),
                (&json!(name), &json!(!observes))
            );
        }
        for kind in ["admit", "mute-request", "remove"] {
            page.about(kind, "patient-1");
            assert_eq!(page.refused().await, "not-allowed");
        }
        page.ask("leave");
        for other in [&mut doctor, &mut patient] {
            other.expect("user-left").await;
        }
    }
    let request = v1::ListParticipantsRequest {
        session_id: world.session_id.clone(),
    };
    let listed = world.client.list_participants(request).await.unwrap();
    let listed = listed.into_inner();
    assert_eq!((listed.participants.len(), listed.invites.len()), (2, 3));
}

#[tokio::test]
async fn an_observer_publishes_nothing() {
    let mut world = World::new().await;
    let (mut doctor, mut patient) = world.couple().await;
    let grant = world.invite(invitation(Role::Observer, "observer-1")).await;
    let ticket = world.exchange(&grant.unwrap().join.unwrap().token).await;
    let mut observer = world.connect(&ticket).await;
    observer.until("existing-participants").await;
    for page in [&mut doctor, &mut patient] {
        page.expect("user-joined").await;
    }
    let audio =
        "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n";
    for kind in ["offer", "answer"] {
        for direction in [
            "",
            "a=sendrecv\r\n",
            "a=sendonly\r\n",
            "a=recvonly-x\r\n",
            "a=recvonly\r\na= sendrecv\r\n",
            "a=recvonly\r\nm=AUDIO 9 UDP/TLS/RTP/SAVPF 111\r\na=sendrecv\r\n",
            "a=recvonly\r\nm= audio 9 UDP/TLS/RTP/SAVPF 111\r\na=sendrecv\r\n",
        ] {
            let sdp = format!("{audio}{direction}");
            observer.send(&json!({"type": kind, "data": {"sdp": sdp}}));
            assert_eq!(
                observer.refused().await,
                "not-allowed",
                "{kind} {direction}"
            );
        }
        let sdp = format!("{audio}a=recvonly\r\n");
        let sent = format!("{sdp}a=ssrc:1 cname:x\r\na=msid:- x\r\n");
        observer.send(&json!({"type": kind, "data": {"sdp": sent, "type": "offer"}, "sdp": sent}));
        for page in [&mut doctor, &mut patient] {
            let expected = json!({
                "type": kind, "sender_id": "observer-1", "room_id": world.session_id, "data": {"sdp": sdp}
            });
            assert_eq!(page.expect(kind).await, expected);
        }
    }
    observer.send(&json!({"type": "mute-status", "data": {"muted": false}}));
    assert_eq!(observer.refused().await, "not-allowed");
    observer.send(&json!({"type": "emoji", "data": {"emoji": "👋"}}));
    doctor.expect("emoji").await;
}

#[tokio::test]
async fn an_invitation_can_be_taken_back_and_given_anew() {
    let mut world = World::new().await;
    let (mut doctor, _patient) = world.couple().await;
    let grant = world
        .invite(invitation(Role::Guest, "guest-1"))
        .await
        .unwrap();
    let token = grant.join.unwrap().token;
    let ticket = world.exchange(&token).await;
    let mut guest = world.connect(&ticket).await;
    guest.until("existing-participants").await;
    doctor.expect("user-joined").await;
    let revoke = v1::RevokeInviteRequest {
        session_id: world.session_id.clone(),
        user_id: "guest-1".to_owned(),
    };
    for _ in 0..2 {
        let answer = world.client.revoke_invite(revoke.clone()).await.unwrap();
        assert_eq!(answer.into_inner().session.unwrap().participants.len(), 2);
    }
    guest.expect("removed").await;
    assert_eq!(guest.closed().await, Some(4003));
    assert_kept_out(&world, &token, &ticket).await;
    let request = v1::JoinSessionRequest {
        role: Role::Guest.into(),
        user_id: "guest-1".to_owned(),
        ..join(&world.session_id, Role::Guest)
    };
    let outcome = world.client.join_session(request).await;
    refused(outcome, Reason::ParticipantRemoved);

    let grant = world
        .invite(invitation(Role::Guest, "guest-1"))
        .await
        .unwrap();
    assert_kept_out(&world, &token, &ticket).await;
    let ticket = world.exchange(&grant.join.unwrap().token).await;
    world.connect(&ticket).await.expect("connected").await;
    let nobody = v1::RevokeInviteRequest {
        user_id: "nobody".to_owned(),
        ..revoke
    };
    let outcome = world.client.revoke_invite(nobody).await;
    refused(outcome, Reason::ParticipantNotFound);
}

#[tokio::test]
async fn invitations_that_were_taken_back_make_room_for_others() {
    let mut world = World::new().await;
    for n in 0..32 {
        let guest = invitation(Role::Guest, &format!("guest-{n}"));
        world.invite(guest).await.unwrap();
    }
    let late = invitation(Role::Guest, "late");
    let details = refused(world.invite(late.clone()).await, Reason::Validation);
    assert_eq!(crate::harness::fields(&details), ["session_id"]);
    let request = v1::RevokeInviteRequest {
        session_id: world.session_id.clone(),
        user_id: "guest-7".to_owned(),
    };
    world.client.revoke_invite(request).await.unwrap();
    world.invite(late).await.unwrap();
    let request = v1::ListParticipantsRequest {
        session_id: world.session_id.clone(),
    };
    let listed = world.client.list_participants(request).await.unwrap();
    let invites = listed.into_inner().invites;
    let listed: Vec<_> = invites.iter().map(|invite| &*invite.user_id).collect();
    assert_eq!(listed.len(), 32);
    assert!(listed.contains(&"late") && !listed.contains(&"guest-7"));
    let outcome = world.client.join_session(v1::JoinSessionRequest {
        user_id: "guest-7".to_owned(),
        ..join(&world.session_id, Role::Guest)
    });
    refused(outcome.await, Reason::NotAParticipant);
}

#[tokio::test]
async fn links_of_invitations_are_handed_out_ahead_of_time() {
    let request = v1::CreateSessionRequest {
        scheduled_start_time: Some(in_secs(7200)),
        ..create("appointment-1")
    };
    let mut world = World::with(&setup(), request).await;
    let grant = world.invite(invitation(Role::Interpreter, "i-1")).await;
    let grant = grant.unwrap().join.unwrap();
    // As long as any, from when the door opens: a quarter of an hour before the start.
    let expires_in = grant.expires_in.unwrap().seconds;
    let whole = 7200 - 900 + 3600;
    // Less what passed since the start was set, on a machine that does much else.
    assert!((whole - 120..=whole).contains(&expires_in), "{expires_in}");
    let ticket = world.exchange(&grant.token).await;
    let page = ticket.page(world.service.http).await;
    assert_eq!((page.status, page.code()), (425, "too-early"));
}

#[tokio::test]
async fn a_guest_who_stands_in_for_the_doctor_is_the_host() {
    let mut world = World::new().await;
    let guest = world.invite(invitation(Role::Guest, "doctor-2")).await;
    let ticket = world.exchange(&guest.unwrap().join.unwrap().token).await;
    let mut guest = world.connect(&ticket).await;
    assert_eq!(guest.expect("connected").await["status"], "waiting");
    let mut patient = world.enter(Role::Patient).await;
    patient.until("waiting").await;
    let request = v1::UpdateSessionRequest {
        session_id: world.session_id.clone(),
        doctor_id: "doctor-2".to_owned(),
        ..Default::default()
    };
    world.client.update_session(request).await.unwrap();
    let request = v1::JoinSessionRequest {
        user_id: "doctor-2".to_owned(),
        ..join(&world.session_id, Role::Doctor)
    };
    let grant = world.client.join_session(request).await.unwrap();
    let ticket = world.exchange(&grant.into_inner().token).await;
    let mut doctor = world.connect(&ticket).await;
    let connected = doctor.expect("connected").await;
    assert_eq!(
        (&connected["role"], &connected["status"]),
        (&json!("doctor"), &json!("admitted"))
    );
    patient.expect("admitted").await;
    let session = world.session().await;
    assert_eq!(session.participants.len(), 2);
}

#[tokio::test]
async fn whoever_is_there_when_their_invitation_expires_may_lose_the_connection() {
    let mut world = World::new().await;
    let _doctor = world.admitted(Role::Doctor).await;
    let request = v1::InviteParticipantRequest {
        expire_time: Some(in_secs(2)),
        ..invitation(Role::Interpreter, "i-1")
    };
    let grant = world.invite(request).await.unwrap().join.unwrap();
    let ticket = world.exchange(&grant.token).await;
    let mut interpreter = world.connect(&ticket).await;
    interpreter.until("existing-participants").await;
    let request = v1::JoinSessionRequest {
        user_id: "i-1".to_owned(),
        ..join(&world.session_id, Role::Interpreter)
    };
    patiently(async {
        while world.client.join_session(request.clone()).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    interpreter.vanish();
    let mut interpreter = world.connect(&ticket).await;
    assert_eq!(interpreter.expect("connected").await["resumed"], true);
    interpreter.ask("leave");
    world.until(|session| session.participants.len() == 1).await;
    assert_eq!(ticket.connect(world.service.http).await.err(), Some(403));
}

#[tokio::test]
async fn an_invitation_ends_when_it_says_so() {
    let mut world = World::new().await;
    let invitation = v1::InviteParticipantRequest {
        expire_time: Some(in_secs(2)),
        ..invitation(Role::Guest, "guest-1")
    };
    let grant = world.invite(invitation).await.unwrap().join.unwrap();
    assert!(grant.expires_in.unwrap().seconds <= 2);
    let ticket = world.exchange(&grant.token).await;
    let request = v1::JoinSessionRequest {
        user_id: "guest-1".to_owned(),
        ..join(&world.session_id, Role::Guest)
    };
    let over = Instant::now() + Duration::from_secs(3);
    tokio::time::sleep_until(over.into()).await;
    let outcome = world.client.join_session(request).await;
    refused(outcome, Reason::NotAParticipant);
    assert_eq!(ticket.connect(world.service.http).await.err(), Some(403));
}

#[tokio::test]
async fn an_invitation_is_refused_for_what_it_is_not_for() {
    let mut world = World::new().await;
    for (request, field) in [
        (invitation(Role::Guest, "doctor-1"), "user_id"),
        (invitation(Role::Guest, "patient-1"), "user_id"),
        (
            v1::InviteParticipantRequest {
                expire_time: Some(in_secs(-1)),
                ..invitation(Role::Guest, "guest-1")
            },
            "expire_time",
        ),
    ] {
        let details = refused(world.invite(request).await, Reason::Validation);
        assert_eq!(crate::harness::fields(&details), [field]);
    }
    world
        .invite(invitation(Role::Guest, "guest-1"))
        .await
        .unwrap();
    let other = invitation(Role::Observer, "guest-1");
    let details = refused(world.invite(other).await, Reason::Validation);
    assert_eq!(crate::harness::fields(&details), ["role"]);
    // Somebody without an id is given one.
    let named = v1::InviteParticipantRequest {
        user_id: String::new(),
        ..invitation(Role::Guest, "")
    };
    let invite = world.invite(named).await.unwrap().invite.unwrap();
    assert!(!invite.user_id.is_empty() && invite.display_name == "Ana");
}

#[tokio::test]
async fn a_doctor_who_is_replaced_is_no_host_any_more() {
    let mut world = World::new().await;
    let token = world.token(Role::Doctor).await;
    let ticket = world.exchange(&token).await;
    let mut doctor = world.connect(&ticket).await;
    doctor.until("existing-participants").await;
    let mut patient = world.admitted(Role::Patient).await;
    doctor.expect("user-joined").await;
    let update = |doctor_id: &str| v1::UpdateSessionRequest {
        session_id: world.session_id.clone(),
        doctor_id: doctor_id.to_owned(),
        ..Default::default()
    };
    let (stand_in, back) = (update("doctor-2"), update("doctor-1"));
    world.client.update_session(stand_in).await.unwrap();
    doctor.until("removed").await;
    assert_eq!(doctor.closed().await, Some(4003));
    assert_eq!(patient.until("user-left").await["cause"], "removed");
    assert_kept_out(&world, &token, &ticket).await;
    // Whoever comes back as doctor comes with a new link.
    world.client.update_session(back).await.unwrap();
    assert_kept_out(&world, &token, &ticket).await;
    world.admitted(Role::Doctor).await;
    patient.expect("user-joined").await;
}

/// Removes as many guests as are more than the session remembers.
async fn remove_many_guests(world: &mut World) {
    for n in 0..REMOVALS_MAX + 10 {
        let user_id = format!("passing-{n}");
        let guest = invitation(Role::Guest, &user_id);
        world.invite(guest).await.unwrap();
        let request = v1::RevokeInviteRequest {
            session_id: world.session_id.clone(),
            user_id,
        };
        world.client.revoke_invite(request).await.unwrap();
    }
}

#[tokio::test]
async fn a_guest_who_was_removed_long_ago_comes_back_with_a_new_link_only() {
    let mut world = World::new().await;
    let guest = invitation(Role::Guest, "guest-1");
    let grant = world.invite(guest.clone()).await.unwrap();
    let token = grant.join.unwrap().token;
    let ticket = world.exchange(&token).await;
    let request = v1::RevokeInviteRequest {
        session_id: world.session_id.clone(),
        user_id: "guest-1".to_owned(),
    };
    world.client.revoke_invite(request).await.unwrap();
    remove_many_guests(&mut world).await;
    let grant = world.invite(guest).await.unwrap();
    assert_kept_out(&world, &token, &ticket).await;
    let ticket = world.exchange(&grant.join.unwrap().token).await;
    world.connect(&ticket).await.expect("connected").await;
}

#[tokio::test]
async fn a_doctor_who_was_replaced_long_ago_comes_back_with_a_new_link_only() {
    let mut world = World::new().await;
    let token = world.token(Role::Doctor).await;
    let ticket = world.exchange(&token).await;
    let update = |doctor_id: &str| v1::UpdateSessionRequest {
        session_id: world.session_id.clone(),
        doctor_id: doctor_id.to_owned(),
        ..Default::default()
    };
    let (stand_in, back) = (update("doctor-2"), update("doctor-1"));
    world.client.update_session(stand_in).await.unwrap();
    remove_many_guests(&mut world).await;
    world.client.update_session(back).await.unwrap();
    assert_kept_out(&world, &token, &ticket).await;
    world.admitted(Role::Doctor).await;
}

#[tokio::test]
async fn an_update_of_something_else_does_not_let_a_removed_doctor_back() {
    let mut world = World::new().await;
    world.remove("doctor-1", true).await;
    let update = v1::UpdateSessionRequest {
        session_id: world.session_id.clone(),
        labels: [("ward".to_owned(), "7".to_owned())].into(),
        update_mask: Some(prost_types::FieldMask {
            paths: vec!["labels".to_owned()],
        }),
        ..Default::default()
    };
    world.client.update_session(update).await.unwrap();
    let outcome = world
        .client
        .join_session(join(&world.session_id, Role::Doctor));
    refused(outcome.await, Reason::ParticipantRemoved);
}

/// Stops the service, and starts it again once something was done to its data.
async fn with_data(mut world: World, setup: &Setup, act: impl FnOnce(&Path)) -> World {
    world.service.process.terminate().await;
    act(&setup.path(""));
    let service = setup.start().await;
    World {
        client: service.client(),
        service,
        session_id: world.session_id,
    }
}

#[tokio::test]
async fn a_link_that_was_issued_after_the_backup_lets_nobody_in_once_it_is_restored() {
    let file = |dir: &Path, name: &str| dir.join(name).join("video-session.db");
    let setup = setup();
    let mut world = World::with(&setup, create("appointment-1")).await;
    let kept = world.ticket(Role::Patient).await;
    let mut world = with_data(world, &setup, |dir| {
        std::fs::create_dir(dir.join("backup")).unwrap();
        std::fs::copy(file(dir, "data"), file(dir, "backup")).unwrap();
    })
    .await;
    let mut lost = Vec::new();
    for _ in 0..5 {
        lost.push(world.ticket(Role::Patient).await);
    }
    let mut world = with_data(world, &setup, |dir| {
        std::fs::copy(file(dir, "backup"), file(dir, "data")).unwrap();
    })
    .await;
    let http = world.service.http;
    assert_eq!(kept.page(http).await.status, 200);
    for ticket in &lost {
        let answer = ticket.page(http).await;
        assert_eq!((answer.status, answer.code()), (401, "expired"));
        assert_eq!(ticket.connect(http).await.err(), Some(401));
    }
    // The numbers of those that were lost are given out again, to others.
    for _ in 0..10 {
        let ticket = world.ticket(Role::Patient).await;
        assert_eq!(ticket.page(http).await.status, 200);
    }
    world.remove("patient-1", false).await;
    for ticket in lost.iter().chain([&kept]) {
        assert_ne!(ticket.page(http).await.status, 200);
        assert!(ticket.connect(http).await.is_err());
    }
}

/// Adds an event of a type to the only session, and changes its record, behind the service's back.
fn write_event(setup: &Setup, name: &str, change_of_body: &str) {
    let db = rusqlite::Connection::open(setup.path("data/video-session.db")).unwrap();
    db.busy_timeout(Duration::from_secs(30)).unwrap();
    db.execute_batch(&format!(
        "BEGIN IMMEDIATE;
         UPDATE sessions SET version = version + 1,
             body = json_set(body, '$.version', version + 1 {change_of_body});
         INSERT INTO events (session, sequence, body)
             SELECT n, version, json_object('sequence', version, 'time_ms', 1, 'write_id', 'x', 'type', '{name}')
             FROM sessions;
         COMMIT;"
    ))
    .unwrap();
}

#[tokio::test]
async fn pages_hear_of_a_removal_behind_an_event_that_cannot_be_read() {
    let setup = setup();
    let mut world = World::with(&setup, create("appointment-1")).await;
    let mut doctor = world.admitted(Role::Doctor).await;
    let ticket = world.ticket(Role::Patient).await;
    let mut patient = world.connect(&ticket).await;
    patient.until("existing-participants").await;
    doctor.expect("user-joined").await;
    // Of a known type, and without what that needs.
    write_event(&setup, "participant.muted", "");
    world.remove("patient-1", false).await;
    assert_eq!(patient.closed_at_last().await, Some(1001));
    assert_eq!(ticket.connect(world.service.http).await.err(), Some(403));
    assert_eq!(doctor.closed_at_last().await, Some(1001));
    let mut doctor = world.enter(Role::Doctor).await;
    assert_eq!(doctor.expect("connected").await["resumed"], true);
    let others = doctor.expect("existing-participants").await;
    assert_eq!(others["participants"], json!([]));
}

#[tokio::test]
async fn an_event_that_only_a_newer_version_knows_is_passed_by() {
    let setup = setup();
    let mut world = World::with(&setup, create("appointment-1")).await;
    let (mut doctor, mut patient) = world.couple().await;
    write_event(&setup, "recording.started", "");
    world.remove("patient-1", false).await;
    patient.until("removed").await;
    assert_eq!(patient.closed_at_last().await, Some(4003));
    assert_eq!(doctor.until("user-left").await["user_id"], "patient-1");
    doctor.ask("ping");
    doctor.until("pong").await;
}

#[tokio::test]
async fn a_page_that_a_newer_version_took_out_of_the_session_reconnects_and_others_go_on() {
    let setup = setup();
    let mut world = World::with(&setup, create("appointment-1")).await;
    let (mut doctor, mut patient) = world.couple().await;
    // The doctor connected first.
    write_event(
        &setup,
        "participant.from-the-future",
        ", '$.participants', json_array(json_extract(body, '$.participants[0]'))",
    );
    // A hint, so that nobody waits for the look that makes up for lost ones.
    let ticket = world.ticket(Role::Patient).await;
    assert_eq!(patient.closed_at_last().await, Some(1001));
    let mut patient = world.connect(&ticket).await;
    assert_eq!(patient.expect("connected").await["resumed"], false);
    doctor.until("user-joined").await;
}

#[tokio::test]
async fn nobody_stays_in_a_session_that_cannot_be_read_any_more() {
    let setup = setup();
    let mut world = World::with(&setup, create("appointment-1")).await;
    let (mut doctor, mut patient) = world.couple().await;
    // As a newer version beside this one may write: who was removed by it cannot be known.
    write_event(
        &setup,
        "participant.from-the-future",
        ", '$.state', 'from-the-future'",
    );
    // Found by the poll that makes up for lost hints.
    assert_eq!(patient.closed_at_last().await, Some(1011));
    assert_eq!(doctor.closed_at_last().await, Some(1011));
}
