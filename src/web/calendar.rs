//! An appointment as a calendar file (RFC 5545).

use crate::domain::id::SessionId;
use crate::domain::session::Schedule;
use crate::domain::time::Timestamp;

/// A line's length without its end (section 3.1).
const LINE_BYTES_MAX: usize = 75;

/// How long before its start the appointment is remembered: time to find the phone and somebody who helps.
const REMINDER_MINUTES: u64 = 15;

/// An entry of a calendar. It names nobody: calendars are synchronised and shared.
pub(super) struct Entry<'a> {
    pub(super) session_id: &'a SessionId,
    pub(super) schedule: Schedule,
    pub(super) title: &'a str,
    /// Where to join; may be empty.
    pub(super) link: &'a str,
    /// When the appointment last changed.
    pub(super) update_time: Timestamp,
    /// Grows with each change.
    pub(super) version: i64,
}

/// The file of an entry; `None` if it has no start.
pub(super) fn file(entry: &Entry<'_>) -> Option<String> {
    let Entry {
        session_id,
        schedule,
        title,
        link,
        update_time,
        version,
    } = entry;
    let start = schedule.start?;
    let mut lines = vec![
        "BEGIN:VCALENDAR".to_owned(),
        "VERSION:2.0".to_owned(),
        "PRODID:-//video-session//EN".to_owned(),
        "BEGIN:VEVENT".to_owned(),
        // The same for every file of the session, so that a second one replaces the first.
        format!("UID:{session_id}@video-session"),
        format!("DTSTAMP:{}", utc(*update_time)),
        // Calendars ignore a file that is older than the one they have.
        format!("SEQUENCE:{version}"),
        format!("DTSTART:{}", utc(start)),
    ];
    if let Some(end) = schedule.end {
        lines.push(format!("DTEND:{}", utc(end)));
    }
    lines.extend([
        format!("SUMMARY:{}", text(title)),
        format!("DESCRIPTION:{}", text(link)),
        format!("URL:{link}"),
        "BEGIN:VALARM".to_owned(),
        "ACTION:DISPLAY".to_owned(),
        format!("TRIGGER:-PT{REMINDER_MINUTES}M"),
        format!("DESCRIPTION:{}", text(title)),
        "END:VALARM".to_owned(),
        "END:VEVENT".to_owned(),
        "END:VCALENDAR".to_owned(),
    ]);
    Some(lines.iter().map(|line| folded(line)).collect())
}

/// A time in the form of section 3.3.5.
fn utc(time: Timestamp) -> String {
    let text = time.floor_to_secs().to_string();
    let seconds = text.split(['.', 'Z']).next().unwrap_or("");
    format!("{}Z", seconds.replace(['-', ':'], ""))
}

/// A value of the type TEXT (section 3.3.11).
fn text(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace(';', "\\;")
        .replace(',', "\\,")
        .replace('\n', "\\n")
}

/// A line with its end, folded where it is too long.
fn folded(line: &str) -> String {
    let mut folded = String::new();
    let mut length = 0;
    for character in line.chars() {
        if length + character.len_utf8() > LINE_BYTES_MAX {
            folded.push_str("\r\n ");
            length = 1;
        }
        folded.push(character);
        length += character.len_utf8();
    }
    folded.push_str("\r\n");
    folded
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: &str = "https://clinic.example/j/0123456789abcdefghjkmnpqrs";

    fn file_of(schedule: Schedule, title: &str) -> Option<String> {
        file(&Entry {
            session_id: &SessionId::from_stored("sess_1".into()),
            schedule,
            title,
            link: LINK,
            update_time: Timestamp::from_millis(1_799_000_000_000),
            version: 7,
        })
    }

    #[test]
    fn an_appointment_becomes_a_calendar_file() {
        let schedule = Schedule {
            start: Some(Timestamp::from_millis(1_800_000_000_123)),
            end: Some(Timestamp::from_millis(1_800_001_800_000)),
        };
        let title = "Videosprechstunde, Dr. Müller; öffnen: ".to_owned() + &"ä".repeat(40);
        let file = file_of(schedule, &title).unwrap();
        for line in file.split_terminator("\r\n") {
            assert!(line.len() <= LINE_BYTES_MAX, "{line}");
        }
        let unfolded = file.replace("\r\n ", "");
        assert!(unfolded.contains("\r\nDTSTART:20270115T080000Z\r\nDTEND:20270115T083000Z\r\n"));
        assert!(unfolded.contains("\r\nSUMMARY:Videosprechstunde\\, Dr. Müller\\; öffnen: "));
        assert!(unfolded.contains(&format!("\r\nURL:{LINK}\r\n")));
        assert!(unfolded.contains("\r\nSEQUENCE:7\r\n"));
        assert!(unfolded.contains("\r\nTRIGGER:-PT15M\r\n"));
    }

    #[test]
    fn an_appointment_without_a_start_has_no_file() {
        assert_eq!(file_of(Schedule::default(), ""), None);
    }
}
