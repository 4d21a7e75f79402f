//! Settings of the calls to SFU nodes.

use super::env::Env;
use super::millis;
use crate::sfu::bounded::Limits;

pub(super) fn read(env: &mut Env<'_>) -> Limits {
    let limits = Limits {
        call_timeout: millis(env, "SFU_CALL_TIMEOUT_MS", 5000),
        attempt_timeout: millis(env, "SFU_ATTEMPT_TIMEOUT_MS", 2400),
        attempts_max: env.number("SFU_ATTEMPTS_MAX", 3, 1, 10),
        backoff: millis(env, "SFU_BACKOFF_MS", 200),
    };
    if limits.attempt_timeout > limits.call_timeout {
        env.report_fault(
            "SFU_ATTEMPT_TIMEOUT_MS",
            "must not be more than SFU_CALL_TIMEOUT_MS",
        );
    }
    limits
}
