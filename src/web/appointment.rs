//! The appointment of a participant, who may be early.

use axum::http::HeaderMap;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

use super::page_error::PageError;
use super::{Edge, calendar, cookie};
use crate::auth::token::{PageHints, Purpose};
use crate::domain::id::SessionId;
use crate::domain::role::Role;
use crate::domain::session::Schedule;
use crate::domain::time::Timestamp;

/// The appointment of a participant who came too early.
pub(super) struct Appointment {
    pub(super) schedule: Schedule,
    /// With whom; `None` if that is not known, or if they are the doctor.
    pub(super) doctor_name: Option<String>,
    /// When it last changed.
    pub(super) update_time: Timestamp,
    /// Grows with each change.
    pub(super) version: i64,
    /// Their short link, if they have one.
    pub(super) link: Option<String>,
}

/// Reads the appointment of a participant, who may be early.
pub(super) async fn appointment(
    edge: &Edge,
    session_id: &SessionId,
    slot: &str,
    headers: &HeaderMap,
) -> Result<Appointment, PageError> {
    let credential = Some(slot)
        .filter(|slot| cookie::is_slot(slot))
        .and_then(|slot| cookie::read(headers, slot))
        .ok_or(PageError::MissingToken)?;
    let signalling = &edge.signalling;
    let verified = signalling.verify_credential(credential, Purpose::Page, session_id)?;
    let session = signalling.authorized_session(&verified).await?;
    let code = signalling.short_code_of(&session, &verified.identity);
    Ok(Appointment {
        schedule: session.schedule,
        doctor_name: Some(session.doctor_name)
            .filter(|name| !name.is_empty() && verified.identity.role != Role::Doctor),
        update_time: session.update_time,
        version: session.version,
        link: code.map(|code| edge.config.links.short(&code)),
    })
}

/// The appointment as a calendar file.
pub(super) async fn calendar_file(
    edge: &Edge,
    session_id: &SessionId,
    slot: &str,
    hints: &PageHints,
    headers: &HeaderMap,
) -> Result<Response, PageError> {
    let appointment = appointment(edge, session_id, slot, headers).await?;
    let file = calendar::file(&calendar::Entry {
        session_id,
        schedule: appointment.schedule,
        title: edge.assets.title(headers, &edge.config, hints),
        link: appointment.link.as_deref().unwrap_or_default(),
        update_time: appointment.update_time,
        version: appointment.version,
    });
    let file = file.ok_or(PageError::NotFound)?;
    let headers = [
        (CONTENT_TYPE, "text/calendar; charset=utf-8"),
        (
            CONTENT_DISPOSITION,
            "attachment; filename=\"appointment.ics\"",
        ),
    ];
    Ok((headers, file).into_response())
}
