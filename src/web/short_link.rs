//! Short links, and the calendar file of the appointment that they lead to.

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

use super::join::{JoinQuery, enter, path_text};
use super::page_error::PageError;
use super::{Edge, calendar, cookie, in_app};
use crate::auth::short_code::{NotACode, ShortCode};
use crate::auth::token::{PageHints, Purpose};
use crate::domain::id::SessionId;
use crate::domain::session::Schedule;
use crate::domain::time::Timestamp;

/// `GET /j/{code}`
pub(super) async fn open(
    State(edge): State<Edge>,
    code: Result<Path<String>, PathRejection>,
    query: Result<Query<JoinQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Response {
    let stays = query.unwrap_or_default().0.stays_in_app();
    let mut hints = PageHints::default();
    exchange(&edge, &path_text(code), stays, &headers, &mut hints)
        .await
        .unwrap_or_else(|error| {
            (edge.assets).error_page_for(&hints, &error, &headers, &edge.config)
        })
}

/// Sets `hints` as soon as the link's bearer is known.
async fn exchange(
    edge: &Edge,
    code: &str,
    stays_in_app: bool,
    headers: &HeaderMap,
    hints: &mut PageHints,
) -> Result<Response, PageError> {
    let code = ShortCode::parse(code).map_err(|fault| match fault {
        NotACode::Cut => PageError::MissingToken,
        NotACode::Other => PageError::Forged,
    })?;
    let verified = edge.signalling.find_short_link(&code).await?;
    *hints = PageHints::of(&verified.claims);
    let response = enter(edge, &verified).await?;
    let links = &edge.config.links;
    match in_app::app_of(headers) {
        None => Ok(response),
        Some(app) if !stays_in_app => {
            let address = format!("{}?{}", links.short_path(&code), JoinQuery::STAY);
            Ok(edge
                .assets
                .in_app_page(headers, &edge.config, hints, app, &address))
        }
        // The address that the app passes on to another browser must work there.
        Some(_) => {
            let identity = &verified.identity;
            let slot = cookie::slot(&identity.session_id, &identity.user_id);
            let page = links.slot_path(&identity.session_id, &slot);
            Ok(super::join::at(
                response,
                &format!("{page}#j={}", code.as_str()),
            ))
        }
    }
}

/// The appointment of a participant who came too early.
pub(super) struct Appointment {
    pub(super) schedule: Schedule,
    /// When it last changed.
    pub(super) update_time: Timestamp,
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
        update_time: session.update_time,
        link: code.map(|code| edge.config.links.short(&code)),
    })
}

/// `GET /join/{session_id}/appointment.ics`
pub(super) async fn calendar_file(
    State(edge): State<Edge>,
    session_id: Result<Path<String>, PathRejection>,
    query: Result<Query<JoinQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Response {
    let query = query.unwrap_or_default().0;
    let hints = query.page_hints(&headers);
    build_calendar_file(
        &edge,
        &path_text(session_id),
        query.slot(),
        &hints,
        &headers,
    )
    .await
    .unwrap_or_else(|error| (edge.assets).error_page_for(&hints, &error, &headers, &edge.config))
}

async fn build_calendar_file(
    edge: &Edge,
    session_id: &str,
    slot: &str,
    hints: &PageHints,
    headers: &HeaderMap,
) -> Result<Response, PageError> {
    let session_id = SessionId::parse(session_id).map_err(|_| PageError::UnknownSession)?;
    let appointment = appointment(edge, &session_id, slot, headers).await?;
    let Appointment {
        schedule,
        update_time,
        link,
    } = appointment;
    let title = edge.assets.title(headers, &edge.config, hints);
    let link = link.unwrap_or_default();
    let file = calendar::file(&session_id, &schedule, title, &link, update_time);
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
