/** Sounds made of sines. */

/** Sample rate of {@link wavFile}. */
const RATE = 16_000;

/** A mono WAV file of 16 bits: sines of these frequencies in Hz, each of an equal share of full scale. */
export function wavFile(frequencies: readonly number[], seconds = 0.5, level = 0.5): Buffer {
  const samples = Math.round(seconds * RATE);
  const file = Buffer.alloc(44 + samples * 2);
  file.write('RIFF', 0);
  file.writeUInt32LE(36 + samples * 2, 4);
  file.write('WAVEfmt ', 8);
  file.writeUInt32LE(16, 16);
  file.writeUInt16LE(1, 20);
  file.writeUInt16LE(1, 22);
  file.writeUInt32LE(RATE, 24);
  file.writeUInt32LE(RATE * 2, 28);
  file.writeUInt16LE(2, 32);
  file.writeUInt16LE(16, 34);
  file.write('data', 36);
  file.writeUInt32LE(samples * 2, 40);
  for (let n = 0; n < samples; n += 1) {
    const sum = frequencies.reduce((total, hertz) => total + Math.sin((2 * Math.PI * hertz * n) / RATE), 0);
    file.writeInt16LE(Math.round((sum / frequencies.length) * level * 32_767), 44 + n * 2);
  }
  return file;
}
