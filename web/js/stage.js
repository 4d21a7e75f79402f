// The stage: one picture large, the others in a strip. A picture that was chosen stays large; else a shown screen is, else whoever speaks.

import { byId } from './dom.js';
import { chooseLarge, freeBelow, layOut } from './layout.js';
import { note } from './notes.js';
import { Picture } from './picture.js';
import { SelfView } from './selfview.js';
import { Speakers } from './speakers.js';

const LISTEN_MS = 250;
/** Above and below the participant's own picture, under a strip. */
const SELF_GAP_PX = 16;
const SIDES = { start: 'inset-inline-start', top: 'top', width: 'width', height: 'height' };

export class Stage {
  #tiles = new Map();
  #speakers = new Speakers();
  #speaking = new Set();
  #pinned = null;
  #large = null;
  /** By user id: when their screen began to be shown. */
  #screens = new Map();
  #timer = 0;
  #selfView;
  #picture;
  #observer;

  constructor({ texts, session }) {
    Object.assign(this, { texts, session });
    this.#selfView = new SelfView(texts);
    this.#picture = new Picture({ texts, session, onPin: () => this.#togglePin() });
    this.#observer = new ResizeObserver(() => this.#place());
    this.#observer.observe(byId('stage'));
    this.#timer = setInterval(() => this.#listen(), LISTEN_MS);
  }

  /** Shows these tiles, by their ids, in the order of the call. */
  arrange(tiles) {
    this.#tiles = tiles;
    this.#tellOfScreens();
    if (!tiles.has(this.#pinned)) this.#pinned = null;
    this.#place();
  }

  pin(id) {
    this.#pinned = id;
    this.#place();
    this.#picture.focus();
  }

  close() {
    clearInterval(this.#timer);
    this.#observer.disconnect();
    this.#selfView.close();
    this.#picture.close();
  }

  #togglePin() {
    this.#pinned = this.#pinned ? null : this.#large;
    this.#place();
  }

  /** Says who begins to show their screen, and who ends. */
  #tellOfScreens() {
    const tiles = [...this.#tiles.values()].filter(({ isBeside }) => !isBeside);
    const say = (key, person) => note(this.texts.text(key, { name: this.texts.who(person) }));
    for (const { person } of tiles) {
      const { userId } = person;
      if (person.screen && !this.#screens.has(userId)) {
        this.#screens.set(userId, performance.now());
        say('stage.shows', person);
      } else if (!person.screen && this.#screens.delete(userId)) say('stage.showsNoMore', person);
    }
    for (const userId of this.#screens.keys()) {
      if (!tiles.some(({ person }) => person.userId === userId)) this.#screens.delete(userId);
    }
  }

  #listen() {
    if (document.hidden) return;
    const people = [...this.#tiles.values()].filter(({ person, isBeside }) => !isBeside && !person.muted);
    const levels = new Map(people.map(({ person: { userId } }) => [userId, this.session.connection?.level(userId) ?? 0]));
    const before = this.#speakers.current;
    this.#speaking = this.#speakers.take(levels, performance.now());
    for (const tile of this.#tiles.values()) tile.element.classList.toggle('speaking', this.#speaking.has(tile.person.userId));
    if (before !== this.#speakers.current) this.#place();
  }

  #place() {
    const pictures = [...this.#tiles].map(([id, { person, isBeside }]) => ({ id, userId: person.userId, isBeside, screenSince: this.#screens.get(person.userId) }));
    const large = chooseLarge(pictures, { pinned: this.#pinned, speaker: this.#speakers.current, before: this.#large });
    const stage = { width: byId('stage').clientWidth, height: byId('stage').clientHeight };
    const boxes = layOut(pictures.length, stage);
    const strip = [...boxes.strip];
    for (const [id, tile] of this.#tiles) {
      const box = id === large ? boxes.large : strip.shift();
      for (const [side, property] of Object.entries(SIDES)) tile.element.style.setProperty(property, `${box[side]}px`);
      tile.setLarge(id === large);
    }
    // What lies over the large picture stays off the strip.
    byId('call').style.setProperty('--strip-end', `${stage.width - boxes.large.width}px`);
    byId('call').style.setProperty('--strip-bottom', `${stage.height - boxes.large.height}px`);
    const isBelow = freeBelow(boxes, stage) > byId('self').offsetHeight + SELF_GAP_PX;
    byId('call').style.setProperty('--self-end', isBelow ? '0px' : `${stage.width - boxes.large.width}px`);
    if (large !== this.#large) {
      this.#large = large;
      const tile = this.#tiles.get(large);
      this.session.connection?.enlarge(tile ? { userId: tile.person.userId, isBeside: tile.isBeside } : null);
    }
    this.#picture.show(this.#tiles.get(large) ?? null, { isPinned: this.#pinned !== null, canPin: pictures.length > 1 });
  }
}
