// The first screen: preview of video and sound, and help if one of them fails.

import { attach, byId, el, face } from './dom.js';
import { announce } from './a11y.js';
import { list } from './devices.js';
import { Level } from './level.js';

const LISTS = { audio: ['microphone-choice', 'microphone-field'], video: ['camera-choice', 'camera-field'], speaker: ['speaker-choice', 'speaker-field'] };
const HEARD = 0.35;

const canChooseSpeaker = 'setSinkId' in HTMLMediaElement.prototype;

/** The link to follow for failures that a retry does not fix. */
function failureLink(failure, texts) {
  if (failure === 'insecure') return el('a', { className: 'button', href: location.href.replace(/^http:/, 'https:'), testid: 'failure-action' }, texts.text('failure.insecure.action'));
  if (failure === 'blocked') return el('a', { className: 'button', href: location.href, target: '_blank', rel: 'noopener', testid: 'failure-action' }, texts.text('failure.blocked.action'));
  return null;
}

export class Ready {
  #level = new Level();
  #shown = '';
  #loud = 0;

  constructor({ texts, media, config, onStart }) {
    Object.assign(this, { texts, media, config });
    this.away = new AbortController();
    const { signal } = this.away;
    media.addEventListener('change', () => this.#render(), { signal });
    media.addEventListener('devices', () => this.#list(), { signal });
    const click = (id, handler) => byId(id).addEventListener('click', handler, { signal });
    click('ready-mute', () => media.setMuted(!media.muted));
    click('ready-camera', () => media.setCamera(media.cameraOff));
    const start = () => onStart(byId('name').value.trim());
    click('start', start);
    byId('name').addEventListener('keydown', (event) => event.key === 'Enter' && start(), { signal });
    for (const [kind, [id]] of Object.entries(LISTS)) {
      byId(id).addEventListener('change', ({ target }) => media.choose(kind, target.value), { signal });
    }
    byId('name-field').hidden = Boolean(config.name) || !config.askName;
    byId('as').hidden = !config.name;
    byId('as').textContent = texts.text('ready.as', { name: config.name });
  }

  /** The browser does not support calls: show only that. */
  unfit(reason) {
    this.isUnfit = true;
    this.#failures([reason], false);
    for (const id of ['ready-lead', 'preview-box', 'level-box', 'devices', 'start', 'as']) byId(id).hidden = true;
    for (const id of ['ready-mute', 'ready-camera']) byId(id).hidden = true;
  }

  /** The tests of loudspeaker and connection, which are loaded later. */
  addChecks(Checks) {
    const { texts, media, config, away: { signal } } = this;
    if (!signal.aborted && !this.isUnfit) this.checks = new Checks({ texts, media, config, signal });
  }

  async open() {
    if (!this.config.publishes) {
      for (const id of ['preview-box', 'level-box', 'devices', 'ready-mute', 'ready-camera']) byId(id).hidden = true;
      byId('ready-lead').textContent = this.texts.text('call.observer');
    } else await this.media.acquire();
  }

  close() {
    this.away.abort();
    this.#level.stop();
  }

  #render() {
    const { media, texts } = this;
    const failures = media.asking ? [] : media.failures;
    byId('asking').hidden = !media.asking;
    this.#failures(failures);
    attach(byId('preview'), media.video ? media.preview : null);
    byId('preview').classList.toggle('mirrored', media.facing === 'user');
    byId('preview').hidden = !media.video;
    byId('preview-off').hidden = Boolean(media.video) || media.asking;
    byId('preview-box').hidden = failures.length > 0 && !media.video;
    byId('level-box').hidden = !media.audio;
    byId('devices').hidden = !media.audio && !media.video;
    byId('ready-mute').hidden = !media.audio;
    byId('ready-camera').hidden = !media.video && !media.cameraOff;
    face(byId('ready-mute'), media.muted ? 'mic-off' : 'mic', texts.text(media.muted ? 'call.unmute' : 'call.mute'));
    face(byId('ready-camera'), media.cameraOff ? 'cam-off' : 'cam', texts.text(media.cameraOff ? 'call.cameraOn' : 'call.cameraOff'));
    const { audio, video } = media.problems;
    const start = audio && video ? 'ready.start.listen' : audio ? 'ready.start.picture' : video ? 'ready.start.sound' : 'ready.start';
    byId('start').textContent = texts.text(media.asking ? 'ready.start' : start);
    this.#level.listen(media.audio, (level) => this.#heard(level));
    this.#hint();
  }

  #heard(level) {
    const { muted } = this.media;
    byId('level-bar').style.transform = `scaleX(${muted ? 0 : level.toFixed(3)})`;
    byId('level').setAttribute('aria-valuenow', String(muted ? 0 : Math.round(level * 20) * 5));
    if (level < HEARD || muted) return;
    this.#loud += 1;
    if (this.#loud !== 3) return;
    this.#hint();
    announce(this.texts.text('ready.levelHeard'));
  }

  #hint() {
    const key = this.media.muted ? 'ready.levelMuted' : this.#loud >= 3 ? 'ready.levelHeard' : 'ready.levelHint';
    byId('level-hint').textContent = this.texts.text(key);
  }

  #failures(failures, retry = true) {
    const shown = failures.join();
    if (shown === this.#shown) return;
    this.#shown = shown;
    const { texts } = this;
    // Whoever goes in now is neither seen nor heard, and can change that here.
    const refused = failures.find((failure) => failure.startsWith('refused'));
    byId('start').className = refused ? 'secondary' : 'primary';
    const cards = failures.map((failure) => {
      const link = failureLink(failure, texts);
      const again = retry && !link && failure !== 'unsupported';
      return el(
        'div',
        { className: 'failure', testid: `failure-${failure}` },
        el('h2', {}, texts.text(`failure.${failure}.title`)),
        el('p', {}, texts.text(`failure.${failure}.text`)),
        link ?? (again ? el('button', { type: 'button', className: failure === refused ? 'primary' : 'secondary', testid: 'failure-retry', on: { click: () => this.#retry() } }, texts.text('failure.retry')) : null),
      );
    });
    byId('failures').replaceChildren(...cards);
    this.refusedCard = cards[failures.indexOf(refused)];
    if (refused) this.#help(this.refusedCard, refused);
  }

  /** Adds the help in pictures. Without it, the card's text remains. */
  async #help(card, refused) {
    const { addTo, whenAllowed } = await import('./help.js').catch(() => ({}));
    if (!addTo || !card.isConnected) return;
    addTo(card, this.texts, refused.startsWith('refused-system') ? 'refused-system' : 'refused');
    this.whenAllowed ??= whenAllowed(() => this.media.acquire(), this.away.signal);
  }

  async #retry() {
    const { media, texts } = this;
    await media.acquire();
    // The button was there for the former failures: the focus must not be lost with it.
    (document.querySelector('.failure button') ?? byId('start')).focus({ preventScroll: true });
    const refused = media.failures.some((failure) => failure.startsWith('refused'));
    if (refused) await import('./help.js').then(({ stillRefused }) => stillRefused(this.refusedCard, texts), () => {});
  }

  async #list() {
    const devices = await this.media.devices();
    for (const [kind, [id, field]] of Object.entries(LISTS)) {
      const current = this.media[kind]?.getSettings?.().deviceId ?? this.media.chosen[kind];
      list(byId(id), devices[kind], current, this.texts);
      byId(field).hidden = devices[kind].length === 0 || (kind === 'speaker' && !canChooseSpeaker);
    }
  }
}
