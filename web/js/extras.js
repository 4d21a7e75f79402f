// What can be done beside speaking: the raised hand, the small window, the blurred background, and the keyboard's shortcuts.

import { Blur } from './blur.js';
import { Hands } from './hands.js';
import { Shortcuts } from './shortcuts.js';
import { SmallWindow } from './small-window.js';

export class Extras {
  constructor(page) {
    this.parts = [new Hands(page), new SmallWindow(page), new Blur(page), new Shortcuts(page)];
  }

  close() {
    for (const part of this.parts) part.close();
  }
}
