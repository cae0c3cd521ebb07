/** What is used of dcmjs, which has no types of its own. */
declare module 'dcmjs' {
  interface DcmElement {
    readonly vr: string;
    readonly Value: readonly unknown[];
    /** As the file has it: numbers as texts. */
    readonly _rawValue?: readonly unknown[];
  }
  type DcmDataset = Record<string, DcmElement>;
  interface DcmOptions {
    /** Stops before the element of this tag. */
    readonly untilTag?: string;
  }
  class DicomDict {
    constructor(meta: DcmDataset);
    meta: DcmDataset;
    dict: DcmDataset;
    write(): ArrayBuffer;
  }
  interface Logger {
    setLevel(level: string): void;
  }
  const dcmjs: {
    readonly data: {
      readonly DicomMessage: { readFile(bytes: ArrayBuffer, options?: DcmOptions): DicomDict };
      readonly DicomMetaDictionary: {
        readonly nameMap: Readonly<Record<string, { readonly tag: string; readonly vr: string } | undefined>>;
      };
      readonly DicomDict: typeof DicomDict;
      readonly Colors: {
        /** sRGB, each 0…1, as CIELab scaled to 0…65535. */
        rgb2DICOMLAB(rgb: readonly number[]): number[];
        dicomlab2RGB(lab: readonly number[]): number[];
      };
    };
    readonly log: Logger & { getLogger(name: string): Logger };
  };
  export default dcmjs;
}
