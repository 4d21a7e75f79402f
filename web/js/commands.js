// What a host asks of the service about another participant.

/** `command(type, fields)` of the subclass sends it. */
export class HostCommands extends EventTarget {
  admit(userId) {
    this.command('admit', { target_id: userId });
  }

  askToMute(userId) {
    this.command('mute-request', { target_id: userId });
  }

  askToUnmute(userId) {
    this.command('unmute-request', { target_id: userId });
  }

  lowerHand(userId) {
    this.command('lower-hand', { target_id: userId });
  }

  remove(userId, keepOut) {
    this.command('remove', { target_id: userId, keep_out: keepOut });
  }
}
