//! Short links.

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::Response;

use super::join::{JoinQuery, at, enter, passed_on, path_text};
use super::page_error::PageError;
use super::{Edge, in_app};
use crate::auth::short_code::{NotACode, ShortCode};
use crate::auth::token::PageHints;

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
        Some(_) => Ok(at(response, &passed_on(edge, &verified, &code))),
    }
}
