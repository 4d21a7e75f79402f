//! The stored form of a session's participants, invitations, given names, short links and removals.

use serde::{Deserialize, Serialize};

use super::role;
use crate::domain::id::UserId;
use crate::domain::locale::Locale;
use crate::domain::participant::{GivenName, Invite, Participant, ParticipantStatus, Removal};
use crate::domain::short_link::ShortLink;
use crate::domain::time::Timestamp;
use crate::store::StoreError;

/// A stored participant.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ParticipantRecord {
    pub user_id: String,
    pub role: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub display_name: String,
    pub admitted: bool,
    pub connect_time_ms: i64,
    pub instance_id: String,
}

/// A stored invitation.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InviteRecord {
    pub user_id: String,
    pub role: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub display_name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expire_time_ms: Option<i64>,
    #[serde(default)]
    pub since: i64,
}

/// A stored name that a participant chose.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GivenNameRecord {
    pub user_id: String,
    pub name: String,
}

/// A stored short link. A user may have several, by role, so fields of other versions cannot be put back by user: they are dropped.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ShortLinkRecord {
    pub user_id: String,
    pub role: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub display_name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locale: Option<String>,
    pub digest: String,
    pub jti: String,
    pub since: i64,
}

/// A stored removal.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RemovalRecord {
    pub user_id: String,
    pub sequence: i64,
    pub keep_out: bool,
}

impl From<&Participant> for ParticipantRecord {
    fn from(participant: &Participant) -> Self {
        let Participant {
            user_id,
            role,
            display_name,
            status,
            connect_time,
            instance_id,
        } = participant;
        Self {
            user_id: user_id.to_string(),
            role: role.name().to_owned(),
            display_name: display_name.clone(),
            admitted: *status == ParticipantStatus::Admitted,
            connect_time_ms: connect_time.as_millis(),
            instance_id: instance_id.clone(),
        }
    }
}

impl TryFrom<ParticipantRecord> for Participant {
    type Error = StoreError;

    fn try_from(record: ParticipantRecord) -> Result<Self, StoreError> {
        Ok(Self {
            user_id: UserId::from_stored(record.user_id),
            role: role(&record.role)?,
            display_name: record.display_name,
            status: if record.admitted {
                ParticipantStatus::Admitted
            } else {
                ParticipantStatus::Waiting
            },
            connect_time: Timestamp::from_millis(record.connect_time_ms),
            instance_id: record.instance_id,
        })
    }
}

impl From<&Invite> for InviteRecord {
    fn from(invite: &Invite) -> Self {
        let Invite {
            user_id,
            role,
            display_name,
            expire_time,
            since,
        } = invite;
        Self {
            user_id: user_id.to_string(),
            role: role.name().to_owned(),
            display_name: display_name.clone(),
            expire_time_ms: expire_time.map(Timestamp::as_millis),
            since: *since,
        }
    }
}

impl TryFrom<InviteRecord> for Invite {
    type Error = StoreError;

    fn try_from(record: InviteRecord) -> Result<Self, StoreError> {
        Ok(Self {
            user_id: UserId::from_stored(record.user_id),
            role: role(&record.role)?,
            display_name: record.display_name,
            expire_time: record.expire_time_ms.map(Timestamp::from_millis),
            since: record.since,
        })
    }
}

impl From<&GivenName> for GivenNameRecord {
    fn from(given: &GivenName) -> Self {
        let GivenName { user_id, name } = given;
        Self {
            user_id: user_id.to_string(),
            name: name.clone(),
        }
    }
}

impl From<GivenNameRecord> for GivenName {
    fn from(record: GivenNameRecord) -> Self {
        Self {
            user_id: UserId::from_stored(record.user_id),
            name: record.name,
        }
    }
}

impl From<&Removal> for RemovalRecord {
    fn from(removal: &Removal) -> Self {
        let Removal {
            user_id,
            sequence,
            keep_out,
        } = removal;
        Self {
            user_id: user_id.to_string(),
            sequence: *sequence,
            keep_out: *keep_out,
        }
    }
}

impl From<RemovalRecord> for Removal {
    fn from(record: RemovalRecord) -> Self {
        Self {
            user_id: UserId::from_stored(record.user_id),
            sequence: record.sequence,
            keep_out: record.keep_out,
        }
    }
}

impl From<&ShortLink> for ShortLinkRecord {
    fn from(link: &ShortLink) -> Self {
        let ShortLink {
            user_id,
            role,
            display_name,
            locale,
            digest,
            jti,
            since,
        } = link;
        Self {
            user_id: user_id.to_string(),
            role: role.name().to_owned(),
            display_name: display_name.clone(),
            locale: locale.as_ref().map(ToString::to_string),
            digest: digest.clone(),
            jti: jti.clone(),
            since: *since,
        }
    }
}

impl TryFrom<ShortLinkRecord> for ShortLink {
    type Error = StoreError;

    fn try_from(record: ShortLinkRecord) -> Result<Self, StoreError> {
        Ok(Self {
            user_id: UserId::from_stored(record.user_id),
            role: role(&record.role)?,
            display_name: record.display_name,
            locale: record.locale.and_then(Locale::parse),
            digest: record.digest,
            jti: record.jti,
            since: record.since,
        })
    }
}
