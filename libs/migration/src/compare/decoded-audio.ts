/** Sound as samples. */

/** Decoded sound: samples of -1 to 1 for each channel, all of one length. */
export interface DecodedAudio {
  readonly sampleRate: number;
  readonly channels: readonly Float32Array[];
}

/** Bytes from which a file is not decoded: samples are 4 bytes each, ten times an MP3 and more. */
const MAXIMUM_BYTES = 64 * 1024 * 1024;

/** Decodes WAV, FLAC, MP3, Ogg (Opus, Vorbis), AAC, AIFF and WebM; undefined for what is no such sound, a broken or a huge one. */
export async function decodeAudio(bytes: Uint8Array): Promise<DecodedAudio | undefined> {
  if (bytes.length > MAXIMUM_BYTES) return undefined;
  const { default: decode } = await import('@audio/decode');
  try {
    const { sampleRate, channelData } = await decode(bytes);
    const length = channelData[0]?.length ?? 0;
    const isWhole = length > 0 && channelData.every((channel) => channel.length === length);
    return isWhole && sampleRate > 0 ? { sampleRate, channels: channelData } : undefined;
  } catch {
    return undefined;
  }
}

/** Seconds that it lasts. */
export function secondsOf({ sampleRate, channels }: DecodedAudio): number {
  return (channels[0]?.length ?? 0) / sampleRate;
}
