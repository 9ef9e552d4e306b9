import { describe, expect, it } from 'vitest';
import { Dates } from '../src/player/dates';

describe('the capture time by the dates of what was appended', () => {
  it('is counted from where the media of a segment begins', () => {
    const dates = new Dates();
    dates.appended(7, 10, 5_000);
    dates.appended(8, 11, 6_100);
    expect(dates.at(10.25)).toBeCloseTo(5_250, 6);
    expect(dates.at(11)).toBeCloseTo(6_100, 6);
    // Decode times in microseconds, positions in floating point.
    expect(dates.at(10.9999)).toBeCloseTo(6_099.9, 6);
    expect(dates.at(13)).toBeCloseTo(8_100, 6);
  });

  it('is not known of what was never appended', () => {
    const dates = new Dates();
    expect(dates.at(3)).toBeNull();
    dates.appended(7, 10, Number.NaN);
    dates.appended(7, Number.NaN, 5_000);
    expect(dates.at(10)).toBeNull();
    dates.appended(7, 10, 5_000);
    expect(dates.at(9)).toBeNull();
  });

  it('goes by the first part of a segment', () => {
    const dates = new Dates();
    dates.appended(7, 10, 5_000);
    dates.appended(7, 10.1, 5_117);
    expect(dates.at(10.2)).toBeCloseTo(5_200, 6);
  });

  it('follows what is appended anew, and where the player moves a segment', () => {
    const dates = new Dates();
    dates.appended(7, 10, 5_000);
    dates.appended(8, 11, 6_000);
    dates.appended(9, 10.5, 9_000);
    expect(dates.at(10.4)).toBeCloseTo(5_400, 6);
    expect(dates.at(11.5)).toBeCloseTo(10_000, 6);
    dates.appended(9, 12, 9_100);
    expect(dates.at(12.1)).toBeCloseTo(9_200, 6);
  });

  it('is kept for no more than a browser keeps', () => {
    const dates = new Dates();
    for (let segment = 0; segment < 1_000; segment++) dates.appended(segment, segment, segment * 1_000);
    expect(dates.at(800)).toBeNull();
    expect(dates.at(900)).toBe(900_000);
    expect(dates.at(999.5)).toBe(999_500);
  });
});
