//! Reschedules and relabels sessions, and replaces their doctor.

use super::events::left_event;
use crate::domain::access::permit_service;
use crate::domain::actor::Actor;
use crate::domain::change::Change;
use crate::domain::error::Error;
use crate::domain::event::EventKind;
use crate::domain::id::UserId;
use crate::domain::participant::LeaveCause;
use crate::domain::session::{Schedule, Session, SessionUpdate};
use crate::domain::time::Timestamp;

impl Session {
    /// Updates the session; `None` if nothing would change.
    ///
    /// # Errors
    /// [`Error::SessionEnded`]; [`Error::NotAllowed`]; [`Error::VersionMismatch`]; [`Error::Validation`] if start and end would be reversed,
    /// or the doctor would be the patient.
    pub fn update(
        &self,
        update: SessionUpdate,
        expected_version: Option<i64>,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<Option<Change>, Error> {
        self.require_live()?;
        permit_service(actor)?;
        if let Some(expected) = expected_version.filter(|expected| *expected != self.version) {
            return Err(Error::VersionMismatch {
                expected,
                stored: self.version,
            });
        }
        let schedule = Schedule {
            start: update.scheduled_start_time.unwrap_or(self.schedule.start),
            end: update.scheduled_end_time.unwrap_or(self.schedule.end),
        };
        if schedule.is_reversed() {
            return Err(Error::field(
                "scheduled_end_time",
                "must be later than scheduled_start_time",
            ));
        }
        let doctor_id = update.doctor_id.unwrap_or_else(|| self.doctor_id.clone());
        if doctor_id == self.patient_id {
            return Err(Error::field("doctor_id", "must not be the patient"));
        }
        // A name that came with the former doctor would be shown for the new one.
        let kept_name = || match doctor_id == self.doctor_id {
            true => self.doctor_name.clone(),
            false => String::new(),
        };
        let doctor_name = update.doctor_name.unwrap_or_else(kept_name);
        let labels = update.labels.unwrap_or_else(|| self.labels.clone());

        let changes = [
            (
                "scheduled_start_time",
                schedule.start != self.schedule.start,
            ),
            ("scheduled_end_time", schedule.end != self.schedule.end),
            ("labels", labels != self.labels),
            ("doctor_id", doctor_id != self.doctor_id),
            ("doctor_name", doctor_name != self.doctor_name),
        ];
        let fields: Vec<_> = changes
            .into_iter()
            .filter(|(_, changed)| *changed)
            .map(|(field, _)| field.to_owned())
            .collect();
        if fields.is_empty() {
            return Ok(None);
        }
        let mut kinds = vec![EventKind::Updated { fields }];
        // The replaced doctor is no longer the host: they must not stay as one, nor return with an old link.
        let replaced = (doctor_id != self.doctor_id).then_some(&self.doctor_id);
        if let Some(doctor) = replaced.and_then(|doctor_id| self.participant(doctor_id)) {
            kinds.push(EventKind::ParticipantRemoved {
                user_id: doctor.user_id.clone(),
                by: actor.user_id().cloned(),
                keep_out: false,
            });
            kinds.push(left_event(doctor, LeaveCause::Removed));
        }
        Ok(Some(self.next_version(actor, now, kinds, |session| {
            session.schedule = schedule;
            session.labels = labels;
            session.doctor_name = doctor_name;
            if let Some(replaced) = replaced {
                session.replace_doctor(replaced, doctor_id, self.version + 1, now);
            }
        })))
    }

    /// No credential is issued in the same change, so the `sequence` of any of its events separates earlier credentials from later
    /// ones.
    fn replace_doctor(
        &mut self,
        replaced: &UserId,
        doctor_id: UserId,
        sequence: i64,
        now: Timestamp,
    ) {
        self.revoke_access(replaced, sequence, self.is_kept_out(replaced), now);
        if self.empty_timeout_secs == Some(0) {
            // It waits for the new doctor, as a session to which nobody has come.
            self.empty_deadline = None;
        }
        // The new doctor is no longer a guest, even if they were removed as one.
        self.invites.retain(|invite| invite.user_id != doctor_id);
        for removal in &mut self.removals {
            removal.keep_out &= removal.user_id != doctor_id;
        }
        self.doctor_id = doctor_id;
        self.doctor_since = sequence;
    }
}
