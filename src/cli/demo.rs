//! Creates a demo session and prints two links to open side by side in one browser.

use video_session::api::links::Links;
use video_session::app::{App, JoinRequest};
use video_session::domain::actor::Actor;
use video_session::domain::error::Error;
use video_session::domain::id::{AppointmentId, UserId, random_id};
use video_session::domain::label::Labels;
use video_session::domain::medium::MediaMode;
use video_session::domain::participant::Admission;
use video_session::domain::role::Role;
use video_session::domain::session::{Requested, Schedule, SessionRequest};

/// Fails only if the demo's own ids are invalid.
fn user(name: &str) -> Result<UserId, Error> {
    UserId::parse(name).map_err(|_| Error::Internal)
}

/// Creates a session and returns the text with its doctor's and its patient's link.
pub(super) async fn create_session(app: &App, links: &Links) -> Result<String, DemoError> {
    let (doctor, patient) = (user("demo-doctor")?, user("demo-patient")?);
    let request = SessionRequest {
        appointment_id: AppointmentId::parse(format!("demo-{}", random_id()))
            .map_err(|_| Error::Internal)?,
        doctor_id: doctor.clone(),
        patient_id: patient.clone(),
        schedule: Schedule::default(),
        labels: Labels::new(),
        admission: Requested::default_of(Admission::default()),
        max_participants: Requested::default_of(8),
        media: Requested::default_of(MediaMode::default()),
        region: None,
        end_to_end_encrypted: false,
        empty_timeout_secs: None,
        open_to_guests: false,
        doctor_name: "Dr. Demo".into(),
    };
    let session_id = app
        .sessions
        .create(&Actor::Backend, request)
        .await?
        .session
        .session_id;
    let link = async |role, user_id, display_name: &str| {
        let request = JoinRequest {
            session_id: session_id.clone(),
            role,
            user_id,
            display_name: display_name.to_owned(),
            before_window: false,
            locale: None,
            with_node_ticket: false,
        };
        let grant = app.sessions.join(&Actor::Backend, &request).await?;
        Ok::<_, Error>(links.short(&grant.short_code))
    };
    let doctor_link = link(Role::Doctor, doctor, "Dr. Demo").await?;
    let patient_link = link(Role::Patient, patient, "Pat Demo").await?;
    Ok(format!(
        "\nOpen these two links side by side in one browser.\n\nDoctor:\n\n{doctor_link}\n\nPatient:\n\n{patient_link}\n"
    ))
}

/// The demo session could not be created.
#[derive(Debug, thiserror::Error)]
#[error("the demo session could not be created: {}", .0.message())]
pub(super) struct DemoError(Error);

impl From<Error> for DemoError {
    fn from(error: Error) -> Self {
        Self(error)
    }
}
