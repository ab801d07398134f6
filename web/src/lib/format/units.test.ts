import { describe, expect, test } from "vitest";
import {
  bytes,
  celsius,
  grouped,
  latency,
  load,
  percent,
  perSecond,
  plural,
  rate,
  text,
} from "./units";

describe("numbers for people", () => {
  test.each([
    [0, "0.0 %"],
    [9.94, "9.9 %"],
    [9.96, "10 %"],
    [99.6, "100 %"],
    [null, "–"],
    [undefined, "–"],
    [NaN, "–"],
  ])("percent of %s", (value, said) => expect(text(percent(value))).toBe(said));

  test.each([
    [0, "0 B"],
    [999, "999 B"],
    [1000, "0.98 KiB"],
    [1024 ** 2, "1.00 MiB"],
    [999.6 * 1024 ** 2, "0.98 GiB"],
    [12.345 * 1024 ** 3, "12.3 GiB"],
    [16 * 1024 ** 3, "16.0 GiB"],
    [2 ** 63, "8.00 EiB"],
  ])("%s bytes", (value, said) => expect(text(bytes(value))).toBe(said));

  test.each([
    [0, "0 B/s"],
    [999.4, "999 B/s"],
    [999.6, "1.00 kB/s"],
    [9_996, "10.0 kB/s"],
    [99_960, "100 kB/s"],
    [1.5e9, "1.50 GB/s"],
  ])("%s bytes a second", (value, said) => expect(text(rate(value))).toBe(said));

  test.each([
    [0, "0.00 /s"],
    [9.99, "9.99 /s"],
    [9.996, "10.0 /s"],
    [99.96, "100 /s"],
    [999.4, "999 /s"],
    [12_345, "12.3 k/s"],
    [5e6, "5.00 M/s"],
    [undefined, "–"],
  ])("%s times a second", (value, said) => expect(text(perSecond(value))).toBe(said));

  test.each([
    [0.000_085, "85 µs"],
    [0.001_2, "1.20 ms"],
    [0.25, "250 ms"],
    [2.5, "2.50 s"],
    [undefined, "–"],
  ])("%s seconds", (value, said) => expect(text(latency(value))).toBe(said));

  test("a size never has more than three digits", () => {
    for (let value = 1; value < 1e15; value *= 1.07) {
      for (const { value: said } of [bytes(value), rate(value)]) {
        expect(said.replace(/\D/g, "").length).toBeLessThanOrEqual(3);
      }
    }
  });

  test("others", () => {
    expect(text(celsius(71.6))).toBe("72 °C");
    expect(text(load(0.5))).toBe("0.50");
    expect(text(load(123.4))).toBe("123");
    expect(grouped(1903)).toBe("1,903");
    expect(plural(1, "device")).toBe("1 device");
    expect(plural(0, "device")).toBe("0 devices");
  });
});
