//! An appointment as a calendar file (RFC 5545).

use crate::domain::id::SessionId;
use crate::domain::session::Schedule;
use crate::domain::time::Timestamp;

/// A line's length without its end (section 3.1).
const LINE_BYTES_MAX: usize = 75;

/// The file of a session's appointment; `None` if it has no start. It names nobody: calendars are synchronised and shared.
/// `update_time` is when the appointment last changed.
pub(super) fn file(
    session_id: &SessionId,
    schedule: &Schedule,
    title: &str,
    link: &str,
    update_time: Timestamp,
) -> Option<String> {
    let start = schedule.start?;
    let mut lines = vec![
        "BEGIN:VCALENDAR".to_owned(),
        "VERSION:2.0".to_owned(),
        "PRODID:-//video-session//EN".to_owned(),
        "BEGIN:VEVENT".to_owned(),
        // The same for every file of the session, so that a second one replaces the first.
        format!("UID:{session_id}@video-session"),
        format!("DTSTAMP:{}", utc(update_time)),
        format!("DTSTART:{}", utc(start)),
    ];
    if let Some(end) = schedule.end {
        lines.push(format!("DTEND:{}", utc(end)));
    }
    lines.extend([
        format!("SUMMARY:{}", text(title)),
        format!("DESCRIPTION:{}", text(link)),
        format!("URL:{link}"),
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

    #[test]
    fn an_appointment_becomes_a_calendar_file() {
        let schedule = Schedule {
            start: Some(Timestamp::from_millis(1_800_000_000_123)),
            end: Some(Timestamp::from_millis(1_800_001_800_000)),
        };
        let session_id = SessionId::from_stored("sess_1".into());
        let title = "Videosprechstunde, Dr. Müller; öffnen: ".to_owned() + &"ä".repeat(40);
        let link = "https://clinic.example/j/0123456789abcdefghjkmnpqrs";
        let now = Timestamp::from_millis(1_799_000_000_000);
        let file = file(&session_id, &schedule, &title, link, now).unwrap();
        for line in file.split_terminator("\r\n") {
            assert!(line.len() <= LINE_BYTES_MAX, "{line}");
        }
        let unfolded = file.replace("\r\n ", "");
        assert!(unfolded.contains("\r\nDTSTART:20270115T080000Z\r\nDTEND:20270115T083000Z\r\n"));
        assert!(unfolded.contains("\r\nSUMMARY:Videosprechstunde\\, Dr. Müller\\; öffnen: "));
        assert!(unfolded.contains(&format!("\r\nURL:{link}\r\n")));
    }

    #[test]
    fn an_appointment_without_a_start_has_no_file() {
        let session_id = SessionId::from_stored("sess_1".into());
        let none = Schedule::default();
        let now = Timestamp::from_millis(0);
        assert_eq!(file(&session_id, &none, "", "", now), None);
    }
}
