// The other participants' videos. The stage says which one is large.

import { attach, byId, el, icon } from './dom.js';
import { fit, observeSize } from './fit.js';
import { silence } from './people.js';
import { Stage } from './stage.js';
import { Zoom } from './zoom.js';

/** What the id of a second tile ends with; a user id has no space. */
const BESIDE = ' beside';
class Tile {
  #onZoom = null;

  /** `isBeside`: the camera of a participant who shows their screen, too. */
  constructor(texts, { isBeside, onBlocked, onPin }) {
    Object.assign(this, { texts, isBeside, onBlocked });
    this.video = el('video', { testid: isBeside ? 'beside-video' : 'remote-video', autoplay: true, playsInline: true });
    this.stopObserving = observeSize(this.video, () => this.fit());
    this.off = el('p', { className: 'tile-off' }, icon('person'), el('span', {}));
    this.name = el('span', { className: 'tile-name', dir: 'auto', testid: isBeside ? 'beside-name' : 'remote-name' });
    this.role = el('small', { className: 'tile-role', testid: 'remote-role' });
    this.muted = el('span', { className: 'chip', testid: 'remote-muted' }, icon('mic-off'), el('span', {}, texts.text('call.muted.short')));
    this.poor = el('span', { className: 'chip warn', testid: 'remote-poor' }, icon('weak'), el('span', {}, texts.text('call.poor')));
    this.hand = el('span', { className: 'chip hand', testid: 'remote-hand' }, icon('hand'), el('span', {}, texts.text('hand.chip')));
    this.state = el('p', { className: 'tile-state', testid: 'remote-state' });
    this.shows = el('span', { className: 'chip', testid: 'remote-screen' }, icon('screen'), el('span', {}, texts.text('stage.screen')));
    this.pin = el('button', { type: 'button', className: 'tile-pin', testid: 'pin', on: { click: onPin } });
    const label = el('p', { className: 'tile-label' }, this.name, this.role, this.shows, this.hand, this.muted, this.poor);
    this.element = el('li', { className: 'tile', testid: isBeside ? 'beside' : 'remote' }, this.video, this.off, this.state, label, this.pin);
    // A click gives it the focus, so that the keys of the zoom work.
    this.element.tabIndex = -1;
    this.zoom = new Zoom({ video: this.video, frame: this.element, onChange: (change) => this.#zoomed(change) });
  }

  /** Whether there is no picture to look at. */
  get isDark() {
    return !this.off.hidden;
  }

  /** Calls back when the picture is enlarged or moved within its frame. */
  onZoom(callback) {
    this.#onZoom = callback;
  }

  setLarge(isLarge) {
    this.element.classList.toggle('large', isLarge);
    this.pin.hidden = isLarge;
    this.zoom.enabled = isLarge && !this.isDark;
  }

  render(person, speaker) {
    const { texts } = this;
    this.person = person;
    this.element.dataset.userId = person.userId;
    this.element.dataset.state = person.state;
    const name = this.isBeside ? texts.text('stage.camera', { name: texts.who(person) }) : texts.who(person);
    this.pin.setAttribute('aria-label', texts.text('stage.pin', { name }));
    this.name.textContent = name;
    this.role.textContent = texts.role(person.role);
    this.role.hidden = this.isBeside || this.role.textContent === name;
    this.video.setAttribute('aria-label', name);
    const stream = this.isBeside ? person.beside : person.stream;
    attach(this.video, stream);
    if (stream && this.video.paused) this.play();
    if (this.video.setSinkId && this.video.sinkId !== speaker) this.video.setSinkId(speaker).catch(() => {});
    if (!this.isBeside && this.isScreen !== person.screen) this.zoom.reset();
    this.isScreen = !this.isBeside && person.screen;
    this.shows.hidden = !this.isScreen;
    this.muted.hidden = this.isBeside || !silence(person);
    this.muted.lastChild.textContent = texts.text(silence(person) ?? 'call.muted.short');
    this.poor.hidden = this.isBeside || !person.poor || person.state !== 'connected';
    const dark = (!this.isBeside && person.cameraOff) || !stream;
    this.off.hidden = !dark;
    // Not `hidden`: a video that is not displayed may be kept from playing its sound.
    this.video.classList.toggle('dark', dark);
    this.off.lastChild.textContent = person.cameraOff ? texts.text(person.camera ? `call.camera.${person.camera}` : 'call.cameraIsOff') : '';
    this.hand.hidden = this.isBeside || !person.hand;
    const trouble = person.trouble ?? (person.state === 'connecting' ? 'call.connecting' : '');
    const state = trouble && !this.isBeside && texts.text(trouble, { name });
    this.state.hidden = !state;
    if (this.state.textContent !== state) this.state.textContent = state || '';
    this.fit();
  }

  fit() {
    fit(this.video, { isWhole: Boolean(this.isScreen) || this.zoom?.scale > 1 });
    this.zoom?.refit();
  }

  #zoomed(change) {
    this.element.classList.toggle('zoomed', this.zoom.scale > 1);
    if (change.isResized) fit(this.video, { isWhole: Boolean(this.isScreen) || this.zoom.scale > 1 });
    this.#onZoom?.(change);
  }

  async play() {
    try {
      await this.video.play();
    } catch (error) {
      if (error.name === 'NotAllowedError') this.onBlocked();
    }
  }
}

export class Tiles {
  #tiles = new Map();
  #stage;

  constructor(texts, session) {
    this.texts = texts;
    this.#stage = new Stage({ texts, session });
    byId('play').addEventListener('click', () => {
      byId('play').hidden = true;
      for (const tile of this.#tiles.values()) tile.play();
    });
  }

  render(people, speaker) {
    const shown = people.filter((person) => person.publishes);
    // Who shows their screen has a second tile for their camera.
    const wanted = new Map(shown.map((person) => [person.userId, person]));
    for (const person of shown) if (person.screen && person.cameraBeside && person.beside) wanted.set(`${person.userId}${BESIDE}`, person);
    for (const id of this.#tiles.keys()) if (!wanted.has(id)) this.#drop(id);
    for (const [id, person] of wanted) {
      if (!this.#tiles.has(id)) this.#add(id);
      this.#tiles.get(id).render(person, speaker);
    }
    byId('tiles').dataset.count = String(wanted.size);
    this.#stage.arrange(new Map([...wanted.keys()].map((id) => [id, this.#tiles.get(id)])));
    const watching = people.filter((person) => !person.publishes);
    byId('observers').hidden = watching.length === 0;
    byId('observers').replaceChildren(
      ...watching.map((person) => el('li', { className: 'chip', testid: 'observer' }, icon('person'), this.texts.text('call.watches', { name: this.texts.who(person) }))),
    );
  }

  clear() {
    this.#stage.close();
    for (const id of [...this.#tiles.keys()]) this.#drop(id);
  }

  /** The element from which a participant's reaction rises. */
  of(userId) {
    return this.#tiles.get(userId)?.element;
  }

  #add(id) {
    const onBlocked = () => (byId('play').hidden = false);
    const tile = new Tile(this.texts, { isBeside: id.endsWith(BESIDE), onBlocked, onPin: () => this.#stage.pin(id) });
    this.#tiles.set(id, tile);
    byId('tiles').append(tile.element);
  }

  #drop(id) {
    const tile = this.#tiles.get(id);
    attach(tile.video, null);
    tile.stopObserving();
    tile.element.remove();
    this.#tiles.delete(id);
  }
}
