/** What two sounds must have exactly alike. */
import { type DecodedAudio, secondsOf } from './decoded-audio.ts';

/** Seconds by which lengths may differ: two frames of an MP3 or Opus encoder. */
const LENGTH_TOLERANCE = 0.06;

/** One sentence for each fact that differs. */
export function differentSounds(old: DecodedAudio, now: DecodedAudio): readonly string[] {
  const facts = [];
  if (old.sampleRate !== now.sampleRate)
    facts.push(`The sample rate was ${old.sampleRate} and is ${now.sampleRate} Hz.`);
  if (old.channels.length !== now.channels.length)
    facts.push(`It had ${old.channels.length} channels and has ${now.channels.length}.`);
  const [before, after] = [secondsOf(old), secondsOf(now)];
  if (Math.abs(before - after) > LENGTH_TOLERANCE)
    facts.push(`It lasted ${before.toFixed(2)} s and lasts ${after.toFixed(2)} s.`);
  return facts;
}

/** Whether all samples are equal. */
export function areEqualSounds(old: DecodedAudio, now: DecodedAudio): boolean {
  return old.channels.every((channel, index) => {
    const other = now.channels[index];
    return channel.length === other?.length && channel.every((sample, at) => sample === other[at]);
  });
}
