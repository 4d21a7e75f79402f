/** What happened in the consultation. Ignore fields that you do not know: later versions may add some. */
interface Message<Type extends string> {
  videoSession: 1;
  type: Type;
}

export interface VideoSessionEvents {
  /** The first screen is shown. */
  ready: CustomEvent<Message<'ready'> & { language: string }>;
  /** The participant waits to be admitted. */
  waiting: CustomEvent<Message<'waiting'> & { reason: string }>;
  /** The participant is in the call. */
  joined: CustomEvent<Message<'joined'>>;
  /** How many participants are in the call, this one included; and how many wait, if this one may admit them. */
  participants: CustomEvent<Message<'participants'> & { count: number; waiting: number }>;
  /** The participant is out of the call, which goes on. */
  left: CustomEvent<Message<'left'> & { reason: string }>;
  /** The consultation is over. */
  ended: CustomEvent<Message<'ended'> & { reason: string }>;
  /** The page cannot be used, or did not do what it was asked. */
  error: CustomEvent<Message<'error'> & { code: string }>;
}

/** A consultation in a frame. */
export declare class VideoSession extends EventTarget {
  /** @param options.origin of the service, if the frame's `src` is not set yet */
  constructor(frame: HTMLIFrameElement, options?: { origin?: string });
  /** Mutes the participant. Only they can unmute themselves. */
  mute(): void;
  /** Leaves the consultation, without ending it for the others. */
  leave(): void;
  /** Changes the page's language, such as `de`. */
  setLanguage(language: string): void;
  /** Listens no more. The frame stays as it is. */
  close(): void;
  addEventListener<Type extends keyof VideoSessionEvents>(
    type: Type,
    listener: (event: VideoSessionEvents[Type]) => void,
    options?: boolean | AddEventListenerOptions,
  ): void;
}
