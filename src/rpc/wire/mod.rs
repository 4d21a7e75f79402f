//! Requests parsed once, with all their faults found at once; answers written. Messages are taken apart without `..`, so
//! that a new field does not compile until somebody decides what becomes of it.

mod answers;
mod events;
mod faults;
mod requests;

pub(super) use answers::{grant, invite, participant, session};
pub(super) use events::event;
pub(super) use requests::{
    EventsQuery, Update, create, end, get, invite_request, join, list, list_events,
    list_participants, member, update, watch,
};
