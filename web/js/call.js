// The third screen: the others' videos, your own in a corner, and the controls.

import { attach, byId, face } from './dom.js';
import { announce, ask, disclose } from './a11y.js';
import { Asked } from './asked.js';
import { DeviceMenu } from './device-menu.js';
import { Doorbell } from './doorbell.js';
import { LocalMedia } from './media.js';
import { choices, float, named } from './reactions.js';
import { note } from './notes.js';
import { Panel } from './panel.js';
import { Tiles } from './tiles.js';
import { explain, showSwitches, switchCamera, switchMicrophone } from './switches.js';
import { aloneKey } from './trouble.js';

const WARN_MINUTES = [5, 1];

export class Call {
  #tiles;
  #panel;
  #flips = false;
  #warned = new Set();
  #clock = 0;

  constructor({ texts, media, session }) {
    Object.assign(this, { texts, media, session });
    this.#tiles = new Tiles(texts, session);
    this.#panel = new Panel({ texts, session });
    this.away = new AbortController();
    const { signal } = this.away;
    session.addEventListener('people', () => this.render(), { signal });
    session.addEventListener('note', ({ detail }) => this.#note(detail), { signal });
    session.addEventListener('reaction', ({ detail }) => this.#reaction(detail), { signal });
    session.addEventListener('back', () => note(texts.text('call.back')), { signal });
    media.addEventListener('change', () => this.#controls(), { signal });
    media.addEventListener('devices', () => this.#countCameras(), { signal });
    media.addEventListener('unplugged', ({ detail }) => note(texts.text(`failure.unplugged-${detail}`), { loud: true }), { signal });
    media.addEventListener('speaker', () => this.render(), { signal });
    this.#buttons(signal);
    const tell = (text) => note(text, { loud: true });
    for (const Part of [Asked, DeviceMenu, Doorbell]) new Part({ texts, media, session, tell, signal });
  }

  /** The call starts, or continues after waiting. */
  open() {
    this.#countCameras();
    clearInterval(this.#clock);
    this.#clock = setInterval(() => this.#closesSoon(), 5000);
    this.render();
  }

  close() {
    this.away.abort();
    clearInterval(this.#clock);
    this.#tiles.clear();
  }

  render() {
    const { session, texts, media } = this;
    if (!session.self) return;
    const people = [...session.people.values()];
    this.#tiles.render(people, media.speaker);
    this.#panel.render();
    const alone = !people.some((person) => person.publishes);
    byId('alone').hidden = !alone;
    const { gone } = session;
    const key = aloneKey({ role: session.self.role, knocks: session.queue.size > 0, gone });
    const text = texts.text(key, { name: gone ? texts.who(gone) : '' });
    if (byId('alone-text').textContent !== text) byId('alone-text').textContent = text;
    this.#controls();
  }

  #buttons(signal) {
    const { media, session, texts } = this;
    const click = (id, handler) => byId(id).addEventListener('click', handler, { signal });
    click('mute', () => this.#mute());
    click('camera', async () => (await switchCamera(media)) || this.#explain('video'));
    click('flip', () => media.flip());
    click('share', () => this.#share());
    click('stop-share', () => media.stopShare());
    click('leave', () => this.#leave());
    const reactions = disclose(byId('react'), byId('reactions'), { onChange: (open) => (byId('reactions').hidden = !open) });
    disclose(byId('more'), byId('extras'), {
      onChange: (open) => {
        document.body.classList.toggle('with-extras', open);
        if (!open) reactions(false);
        this.#controls();
        // In some languages, they need two rows.
        byId('call').style.setProperty('--extras-height', `${byId('extras').offsetHeight}px`);
      },
    });
    choices(texts, (emoji) => session.react(emoji));
  }

  #controls() {
    const { media, texts, session } = this;
    const publishes = session.self?.publishes ?? true;
    for (const id of ['mute', 'camera', 'self']) byId(id).hidden = !publishes;
    const silent = media.muted || !media.audio || media.interrupted.audio;
    showSwitches({ texts, media, mute: byId('mute'), camera: byId('camera') });
    face(byId('flip'), 'flip', texts.text('call.flip'));
    face(byId('share'), 'screen', texts.text(media.screen ? 'call.stopShare' : 'call.share'));
    face(byId('react'), 'smile', texts.text('call.react'));
    face(byId('leave'), 'leave', texts.text('call.leave'));
    const less = byId('more').getAttribute('aria-expanded') === 'true';
    face(byId('more'), less ? 'close' : 'more', texts.text(less ? 'call.less' : 'call.more'));
    byId('devices-open').hidden = !publishes;
    byId('flip').hidden = !publishes || !this.#flips || !media.video;
    byId('share').hidden = !publishes || !LocalMedia.canShare;
    byId('sharing').hidden = !media.screen;
    attach(byId('self-video'), media.video ? media.preview : null);
    byId('self-video').classList.toggle('mirrored', media.facing === 'user');
    byId('self-off').hidden = Boolean(media.video);
    byId('self-muted').hidden = !silent;
  }

  async #mute() {
    const { media, texts } = this;
    if (!(await switchMicrophone(media))) return this.#explain('audio');
    return announce(texts.text(media.muted ? 'call.muteFirst' : 'call.unmuteFirst'));
  }

  #explain(kind) {
    return explain({ texts: this.texts, media: this.media, kind, tell: (text) => note(text, { loud: true }) });
  }

  async #share() {
    const { media, texts } = this;
    try {
      if (media.screen) media.stopShare();
      else await media.share();
    } catch {
      note(texts.text('failure.share'), { loud: true });
    }
  }

  async #leave() {
    const { session } = this;
    if (!session.may('end-call')) return session.leave();
    const answer = await ask(byId('leave-dialog'), ['leave-cancel', 'leave-only', 'leave-end']);
    if (answer === 'leave-only') session.leave();
    if (answer === 'leave-end') session.endForAll();
    return undefined;
  }

  #note({ key, who, person = this.session.people.get(who), loud, quiet }) {
    const { texts, session } = this;
    // Who is gone again meanwhile is not said to be here.
    const holds = key === 'call.joined' ? () => session.people.has(who) : undefined;
    note(texts.text(texts.keyFor(session.self?.role, key), { name: person ? texts.who(person) : texts.role('doctor') }), { loud, quiet, holds });
  }

  #reaction({ userId, emoji }) {
    const { session, texts } = this;
    const self = userId === session.self.userId;
    const person = self ? session.self : session.people.get(userId);
    if (!person || !float(emoji, self ? byId('self') : this.#tiles.of(userId))) return;
    if (!self) announce(texts.text('call.reacted', { name: texts.who(person), reaction: named(texts, emoji) }));
  }

  async #countCameras() {
    const cameras = (await this.media.devices()).video.length;
    // Only on handheld devices with cameras on both sides.
    this.#flips = cameras > 1 && window.matchMedia('(pointer: coarse)').matches;
    this.#controls();
  }

  #closesSoon() {
    const left = ((this.session.closesAt ?? Infinity) - Date.now()) / 60_000;
    for (const minutes of WARN_MINUTES) {
      if (left > minutes || left <= 0 || this.#warned.has(minutes)) continue;
      this.#warned.add(minutes);
      if (left > minutes - 1) note(this.texts.text(minutes === 1 ? 'call.closesSoon.1' : 'call.closesSoon', { minutes }), { loud: minutes === 1 });
    }
  }
}
