// The other participants' videos: one fills the stage, several share it.

import { attach, byId, el, icon } from './dom.js';
import { fit, observeSize } from './fit.js';

class Tile {
  constructor(texts, onBlocked) {
    Object.assign(this, { texts, onBlocked });
    this.video = el('video', { testid: 'remote-video', autoplay: true, playsInline: true });
    this.stopObserving = observeSize(this.video, () => this.fit());
    this.off = el('p', { className: 'tile-off' }, icon('person'), el('span', {}));
    this.name = el('span', { className: 'tile-name', dir: 'auto', testid: 'remote-name' });
    this.role = el('small', { className: 'tile-role', testid: 'remote-role' });
    this.muted = el('span', { className: 'chip', testid: 'remote-muted' }, icon('mic-off'), el('span', {}, texts.text('call.muted.short')));
    this.poor = el('span', { className: 'chip warn', testid: 'remote-poor' }, icon('weak'), el('span', {}, texts.text('call.poor')));
    this.hand = el('span', { className: 'chip hand', testid: 'remote-hand' }, icon('hand'), el('span', {}, texts.text('hand.chip')));
    this.state = el('p', { className: 'tile-state', testid: 'remote-state' });
    this.element = el('li', { className: 'tile', testid: 'remote' }, this.video, this.off, this.state, el('p', { className: 'tile-label' }, this.name, this.role, this.hand, this.muted, this.poor));
  }

  render(person, speaker) {
    const { texts } = this;
    this.person = person;
    this.element.dataset.userId = person.userId;
    this.element.dataset.state = person.state;
    const name = texts.who(person);
    this.name.textContent = name;
    this.role.textContent = texts.role(person.role);
    this.role.hidden = this.role.textContent === name;
    this.video.setAttribute('aria-label', name);
    attach(this.video, person.stream);
    if (person.stream && this.video.paused) this.play();
    if (speaker && this.video.setSinkId && this.video.sinkId !== speaker) this.video.setSinkId(speaker).catch(() => {});
    this.muted.hidden = !person.muted;
    this.poor.hidden = !person.poor || person.state !== 'connected';
    const dark = person.cameraOff || !person.stream;
    this.off.hidden = !dark;
    // Not `hidden`: a video that is not displayed may be kept from playing its sound.
    this.video.classList.toggle('dark', dark);
    this.off.lastChild.textContent = person.cameraOff ? texts.text('call.cameraIsOff') : '';
    this.hand.hidden = !person.hand;
    const trouble = person.trouble ?? (person.state === 'connecting' ? 'call.connecting' : '');
    const state = trouble && texts.text(trouble, { name });
    this.state.hidden = !state;
    if (this.state.textContent !== state) this.state.textContent = state;
    this.fit();
  }

  fit() {
    fit(this.video, { isScreen: Boolean(this.person?.screen) });
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

  constructor(texts) {
    this.texts = texts;
    byId('play').addEventListener('click', () => {
      byId('play').hidden = true;
      for (const tile of this.#tiles.values()) tile.play();
    });
  }

  render(people, speaker) {
    const shown = people.filter((person) => person.publishes);
    for (const userId of this.#tiles.keys()) {
      if (!shown.some((person) => person.userId === userId)) this.#drop(userId);
    }
    for (const person of shown) {
      if (!this.#tiles.has(person.userId)) this.#add(person.userId);
      this.#tiles.get(person.userId).render(person, speaker);
    }
    byId('tiles').dataset.count = String(shown.length);
    const watching = people.filter((person) => !person.publishes);
    byId('observers').hidden = watching.length === 0;
    byId('observers').replaceChildren(
      ...watching.map((person) => el('li', { className: 'chip', testid: 'observer' }, icon('person'), this.texts.text('call.watches', { name: this.texts.who(person) }))),
    );
  }

  clear() {
    for (const userId of [...this.#tiles.keys()]) this.#drop(userId);
  }

  /** The element from which a participant's reaction rises. */
  of(userId) {
    return this.#tiles.get(userId)?.element;
  }

  #add(userId) {
    const tile = new Tile(this.texts, () => (byId('play').hidden = false));
    this.#tiles.set(userId, tile);
    byId('tiles').append(tile.element);
  }

  #drop(userId) {
    const tile = this.#tiles.get(userId);
    attach(tile.video, null);
    tile.stopObserving();
    tile.element.remove();
    this.#tiles.delete(userId);
  }
}
