/** Video as sampled frames and its sound. */
import type { DecodedAudio } from './decoded-audio.ts';

/** One frame of a video: 8-bit sRGB with alpha, row by row, `width * height * 4` bytes. */
export interface VideoFrame {
  /** From the first frame of the video. */
  readonly seconds: number;
  readonly data: Uint8Array;
}

/** A decoded video. */
export interface DecodedVideo {
  readonly codec: string;
  /** Pixels of the video. */
  readonly width: number;
  readonly height: number;
  /** From its first frame to the end of its last. */
  readonly seconds: number;
  /** Frames a second on average; 0 where the file does not tell. */
  readonly frameRate: number;
  /** Frames that it has, of which `frames` are but a sample. */
  readonly frameCount: number;
  readonly hasAudio: boolean;
  /** Pixels of the sampled frames, which may be smaller than the video. */
  readonly frameWidth: number;
  readonly frameHeight: number;
  /** Evenly spaced, the first and the last among them. */
  readonly frames: readonly VideoFrame[];
  /** The first sound track; undefined where there is none, or it was left out (`hasAudio` tells). */
  readonly sound: DecodedAudio | undefined;
}

/** Why there are no frames. */
export interface UndecodedVideo {
  /** Whether the file is at fault: it is no video, or a broken one. Otherwise the decoder is missing or gave up. */
  readonly isBroken: boolean;
  /** One sentence. */
  readonly reason: string;
}

/** Decodes MP4, WebM and the like; rejects only when it is aborted. */
export type VideoDecoder = (bytes: Uint8Array, signal: AbortSignal) => Promise<DecodedVideo | UndecodedVideo>;

/** What a comparison may decode videos with; without it a person must look at those whose bytes differ. */
export interface VideoReading {
  readonly videoFrames?: VideoDecoder;
  readonly signal?: AbortSignal;
}
